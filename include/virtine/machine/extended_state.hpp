// The processor's state as XSAVE and XRSTOR know it: what CPUID leaf 0DH says, and whether the
// trampoline can wipe all of it. Knows nothing of vCPUs.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <virtine/error.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/processor.hpp>
#include <virtine/x86/trampoline.hpp>

namespace virtine::detail {

// Bits of XCR0 (SDM vol. 1, 13.3).
inline constexpr std::uint64_t xcr0_x87 = 1U << 0;
inline constexpr std::uint64_t xcr0_sse = 1U << 1;
inline constexpr std::uint64_t xcr0_avx = 1U << 2;
inline constexpr std::uint64_t xcr0_avx512 = 7U << 5;  ///< Masks, upper halves, upper sixteen.

// State components by number (SDM vol. 1, 13.1; APM vol. 2, 11.5.2 for LWP).
inline constexpr std::size_t named_components = 20;
inline constexpr std::array<const char*, named_components + 2> component_names{"x87",
                                                                               "SSE",
                                                                               "AVX",
                                                                               "BNDREGS (MPX)",
                                                                               "BNDCSR (MPX)",
                                                                               "opmask (AVX-512)",
                                                                               "ZMM_Hi256",
                                                                               "Hi16_ZMM",
                                                                               "PT",
                                                                               "PKRU",
                                                                               "PASID",
                                                                               "CET_U",
                                                                               "CET_S",
                                                                               "HDC",
                                                                               "UINTR",
                                                                               "LBR",
                                                                               "HWP",
                                                                               "TILECFG (AMX)",
                                                                               "TILEDATA (AMX)",
                                                                               "APX",
                                                                               "LWP",
                                                                               "unknown"};
constexpr std::size_t name_row(unsigned component) {
  constexpr unsigned lwp = 62;
  if (component < named_components) return component;
  return component == lwp ? named_components : named_components + 1;
}
/// Returns the manuals' name of a state component, or "unknown".
constexpr const char* component_name(unsigned component) {
  return component_names[name_row(component)];
}

/// What leaf 0DH of one CPUID says (SDM vol. 1, 13.2).
struct extended_state {
  /// Where a component lies in an area of the standard format.
  struct place {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
    bool aligned = false;  ///< In the compacted format, to 64 bytes.

    [[nodiscard]] constexpr std::uint64_t end() const { return std::uint64_t{offset} + size; }
  };
  static constexpr unsigned max_components = 63;
  static constexpr std::uint32_t header_end = 512 + 64;  ///< Of x87, SSE and the XSAVE header.

  std::uint64_t components = 0;  ///< Those that XCR0 can turn on; 0 without XSAVE.
  std::uint32_t size = 0;        ///< Bytes of the standard format with all of them.
  std::array<place, max_components> places{};

  /// Asks `cpuid`, which returns the x86::cpuid_answer to a function and an index.
  template <class Cpuid>
  static constexpr extended_state of(const Cpuid& cpuid) {
    extended_state out;
    const x86::cpuid_answer all = cpuid(0xd, 0);
    out.components = all.eax | std::uint64_t{all.edx} << 32;
    out.size = all.ecx;
    for (unsigned i = 2; i < max_components; ++i) {
      if ((out.components >> i & 1) == 0) continue;
      const x86::cpuid_answer one = cpuid(0xd, i);
      out.places[i] = {.offset = one.ebx, .size = one.eax, .aligned = (one.ecx & 2) != 0};
    }
    return out;
  }

  /// Reads a table of KVM's.
  static constexpr extended_state of(const kvm::cpuid_table& table) {
    return of([&](std::uint32_t function, std::uint32_t index) {
      const kvm_cpuid_entry2* e = table.find(function, index);
      return e != nullptr ? x86::cpuid_answer{e->eax, e->ebx, e->ecx, e->edx} : x86::cpuid_answer{};
    });
  }

  /// Asks the processor. About ten CPUID instructions.
  static extended_state native() {
    // Where there is no such leaf the processor answers for another one.
    if (x86::native_cpuid(0).eax < 0xd) return {};
    return of([](std::uint32_t function, std::uint32_t index) {
      return x86::native_cpuid(function, index);
    });
  }

  /// Returns how many bytes an area of the standard format takes with the components of `xcr0`.
  [[nodiscard]] constexpr std::uint64_t standard_size(std::uint64_t xcr0) const {
    std::uint64_t end = header_end;
    for (unsigned i = 2; i < max_components; ++i) {
      if ((xcr0 >> i & 1) != 0) end = std::max(end, places[i].end());
    }
    return end;
  }

  /// The same of the compacted format (SDM vol. 1, 13.4.3).
  [[nodiscard]] constexpr std::uint64_t compacted_size(std::uint64_t xcr0) const {
    std::uint64_t end = header_end;
    for (unsigned i = 2; i < max_components; ++i) {
      if ((xcr0 >> i & 1) == 0) continue;
      if (places[i].aligned) end = (end + 63) / 64 * 64;
      end += places[i].size;
    }
    return end;
  }
};

/// Messages that begin alike and name a component each; static, as error::operation must be.
class component_messages {
 public:
  constexpr component_messages(std::string_view before, std::string_view after) {
    for (std::size_t row = 0; row < component_names.size(); ++row) {
      std::size_t at = 0;
      for (const std::string_view part : {before, std::string_view(component_names[row]), after}) {
        for (const char c : part) texts_[row][at++] = c;
      }
    }
  }
  [[nodiscard]] constexpr const char* of(unsigned component) const {
    return texts_[name_row(component)].data();
  }

 private:
  std::array<std::array<char, 200>, component_names.size()> texts_{};
};

static_assert(x86::init_state_room == 56832, "the next message has the number");
inline constexpr component_messages does_not_fit{
    "the processor's state ",
    " ends beyond the 56832 bytes that calls are wiped from, so no call "
    "is made on this host; virtine-doctor lists the parts; bytes needed:"};
inline constexpr component_messages is_not_wiped{
    "the processor has the state ",
    ", but KVM offers no XSAVE (CPUID leaf 0DH) to wipe it with "
    "between calls; XCR0 of the host:"};

/// The state that guests of this host can come to have in the processor.
struct processor_state {
  extended_state native;   ///< What the processor says to this process.
  extended_state offered;  ///< What KVM offers to guests.
  std::uint64_t xcr0 = 0;  ///< What the host runs with; guests of a software KVM run with it too.

  /// Asks the processor; `supported` is what KVM offers.
  static processor_state of(const kvm::cpuid_table& supported) {
    return {.native = extended_state::native(),
            .offered = extended_state::of(supported),
            .xcr0 = x86::native_xcr0()};
  }

  /// Returns how many bytes an XRSTOR of everything may touch, whatever XCR0 a guest runs with.
  [[nodiscard]] constexpr std::uint32_t size() const {
    return std::max({extended_state::header_end, native.size, offered.size});
  }

  /// Returns whether guests have x87 and SSE in XCR0, and so can be wiped by XRSTOR.
  [[nodiscard]] constexpr bool has_xrstor() const {
    return (offered.components & (xcr0_x87 | xcr0_sse)) == (xcr0_x87 | xcr0_sse);
  }

  /// Fails with errc::no_kvm, which names a component, if the trampoline could not wipe all of it.
  [[nodiscard]] result<void> check_wipeable() const {
    if (size() > x86::init_state_room) {
      return error{
          .code = errc::no_kvm, .operation = does_not_fit.of(last_component()), .detail = size()};
    }
    // FXRSTOR, which is then left, knows x87 and SSE alone.
    if (!has_xrstor() && (xcr0 & ~(xcr0_x87 | xcr0_sse)) != 0) {
      unsigned first = 2;
      while ((xcr0 >> first & 1) == 0) ++first;
      return error{.code = errc::no_kvm, .operation = is_not_wiped.of(first), .detail = xcr0};
    }
    return {};
  }

 private:
  /// Returns the component that ends last, in whichever of the two.
  [[nodiscard]] constexpr unsigned last_component() const {
    unsigned last = extended_state::max_components;  // Unknown: a size that no component explains.
    std::uint64_t end = x86::init_state_room;
    for (const extended_state* state : {&native, &offered}) {
      for (unsigned i = 2; i < extended_state::max_components; ++i) {
        if (state->places[i].end() <= end) continue;
        end = state->places[i].end();
        last = i;
      }
    }
    return last;
  }
};

}  // namespace virtine::detail
