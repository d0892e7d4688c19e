// The kernel's KVM interface as C++ sees it safely: fixed-size structures and typed ioctl numbers.
// Makes no system call and keeps no state.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace virtine::kvm {

// The kernel's structures with a flexible array are not used, because some versions of
// <linux/stddef.h> put an empty member before the array. It has one byte in C++, so that
// sizeof, the array's offset and every ioctl number made from them come out wrong.

/// The table of KVM_GET_SUPPORTED_CPUID and KVM_SET_CPUID2: struct kvm_cpuid2 with its array.
struct cpuid_table {
  static constexpr std::uint32_t capacity = 256;  // KVM_MAX_CPUID_ENTRIES

  std::uint32_t nent = 0;
  std::uint32_t padding = 0;
  std::array<kvm_cpuid_entry2, capacity> entries{};

  /// Returns the entry that CPUID gives for EAX=`function`, ECX=`index`, or null.
  constexpr kvm_cpuid_entry2* find(std::uint32_t function, std::uint32_t index = 0) {
    return find_in(*this, function, index);
  }
  constexpr const kvm_cpuid_entry2* find(std::uint32_t function, std::uint32_t index = 0) const {
    return find_in(*this, function, index);
  }

  /// Returns whether the table offers AMX tile data, whose state does not fit an xsave_area.
  constexpr bool offers_tile_data() const {
    const kvm_cpuid_entry2* xsave = find(0xd);
    return xsave != nullptr && (xsave->eax & tile_xstate) != 0;
  }

 private:
  // SDM vol. 1, 13.1.
  static constexpr std::uint32_t tile_xstate = 1U << 17 | 1U << 18;

  template <class Table>
  static constexpr auto find_in(Table& table, std::uint32_t function, std::uint32_t index)
      -> decltype(table.entries.data()) {
    const std::uint32_t count = std::min(table.nent, capacity);
    for (std::uint32_t i = 0; i < count; ++i) {
      auto& entry = table.entries[i];
      const bool indexed = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
      if (entry.function == function && (!indexed || entry.index == index)) return &entry;
    }
    return nullptr;
  }
};

/// The XSAVE image of KVM_GET_XSAVE and KVM_SET_XSAVE, in the standard format (SDM vol. 1, 13.4).
struct alignas(8) xsave_area {
  std::array<std::byte, 4096> bytes{};
};

/// The argument of KVM_GET_MSRS and KVM_SET_MSRS: struct kvm_msrs with `N` entries.
template <std::size_t N>
struct msr_entries {
  std::uint32_t nmsrs = N;
  std::uint32_t pad = 0;
  std::array<kvm_msr_entry, N> entries{};
};

/// The header of KVM_GET_NESTED_STATE and KVM_SET_NESTED_STATE: struct kvm_nested_state without
/// data, which there is only while a guest is a host itself.
struct nested_state {
  std::uint16_t flags = 0;
  std::uint16_t format = 0;
  std::uint32_t size = 128;
  std::array<std::byte, 120> header{};
};

/// One ioctl: its number, its kernel name, and the type its argument points to; const if the kernel
/// only reads it, void if the argument is a number or missing.
template <class Argument>
struct request {
  unsigned long number;
  const char* name;
};

namespace detail {
constexpr request<void> io(unsigned nr, const char* name) {
  return {_IOC(_IOC_NONE, KVMIO, nr, 0), name};
}
template <class T, std::size_t Size = sizeof(T)>
constexpr request<T> ior(unsigned nr, const char* name) {
  return {_IOC(_IOC_READ, KVMIO, nr, Size), name};
}
template <class T, std::size_t Size = sizeof(T)>
constexpr request<const T> iow(unsigned nr, const char* name) {
  return {_IOC(_IOC_WRITE, KVMIO, nr, Size), name};
}
template <class T, std::size_t Size = sizeof(T)>
constexpr request<T> iowr(unsigned nr, const char* name) {
  return {_IOC(_IOC_READ | _IOC_WRITE, KVMIO, nr, Size), name};
}

// What the kernel counts into the number of an ioctl on a structure with a flexible array.
inline constexpr std::size_t table_header = 8;
}  // namespace detail

/// Every ioctl of the library, in the order of their numbers.
namespace requests {
// clang-format off
inline constexpr auto get_api_version = detail::io(0x00, "KVM_GET_API_VERSION");
inline constexpr auto create_vm = detail::io(0x01, "KVM_CREATE_VM");
inline constexpr auto check_extension = detail::io(0x03, "KVM_CHECK_EXTENSION");
inline constexpr auto get_vcpu_mmap_size = detail::io(0x04, "KVM_GET_VCPU_MMAP_SIZE");
inline constexpr auto get_supported_cpuid = detail::iowr<cpuid_table, detail::table_header>(0x05, "KVM_GET_SUPPORTED_CPUID");
inline constexpr auto create_vcpu = detail::io(0x41, "KVM_CREATE_VCPU");
inline constexpr auto set_nr_mmu_pages = detail::io(0x44, "KVM_SET_NR_MMU_PAGES");
inline constexpr auto set_user_memory_region = detail::iow<kvm_userspace_memory_region>(0x46, "KVM_SET_USER_MEMORY_REGION");
inline constexpr auto set_tss_addr = detail::io(0x47, "KVM_SET_TSS_ADDR");
inline constexpr auto run = detail::io(0x80, "KVM_RUN");
inline constexpr auto get_regs = detail::ior<kvm_regs>(0x81, "KVM_GET_REGS");
inline constexpr auto set_regs = detail::iow<kvm_regs>(0x82, "KVM_SET_REGS");
inline constexpr auto get_sregs = detail::ior<kvm_sregs>(0x83, "KVM_GET_SREGS");
inline constexpr auto set_sregs = detail::iow<kvm_sregs>(0x84, "KVM_SET_SREGS");
template <std::size_t N>
inline constexpr auto get_msrs = detail::iowr<msr_entries<N>, detail::table_header>(0x88, "KVM_GET_MSRS");
template <std::size_t N>
inline constexpr auto set_msrs = detail::iow<msr_entries<N>, detail::table_header>(0x89, "KVM_SET_MSRS");
inline constexpr auto set_cpuid2 = detail::iow<cpuid_table, detail::table_header>(0x90, "KVM_SET_CPUID2");
inline constexpr auto get_mp_state = detail::ior<kvm_mp_state>(0x98, "KVM_GET_MP_STATE");
inline constexpr auto set_mp_state = detail::iow<kvm_mp_state>(0x99, "KVM_SET_MP_STATE");
inline constexpr auto get_vcpu_events = detail::ior<kvm_vcpu_events>(0x9f, "KVM_GET_VCPU_EVENTS");
inline constexpr auto set_vcpu_events = detail::iow<kvm_vcpu_events>(0xa0, "KVM_SET_VCPU_EVENTS");
inline constexpr auto get_debugregs = detail::ior<kvm_debugregs>(0xa1, "KVM_GET_DEBUGREGS");
inline constexpr auto set_debugregs = detail::iow<kvm_debugregs>(0xa2, "KVM_SET_DEBUGREGS");
inline constexpr auto enable_cap = detail::iow<kvm_enable_cap>(0xa3, "KVM_ENABLE_CAP");
inline constexpr auto get_xsave = detail::ior<xsave_area>(0xa4, "KVM_GET_XSAVE");
inline constexpr auto set_xsave = detail::iow<xsave_area>(0xa5, "KVM_SET_XSAVE");
inline constexpr auto get_xcrs = detail::ior<kvm_xcrs>(0xa6, "KVM_GET_XCRS");
inline constexpr auto set_xcrs = detail::iow<kvm_xcrs>(0xa7, "KVM_SET_XCRS");
inline constexpr auto get_nested_state = detail::iowr<nested_state>(0xbe, "KVM_GET_NESTED_STATE");
inline constexpr auto set_nested_state = detail::iow<nested_state>(0xbf, "KVM_SET_NESTED_STATE");
inline constexpr auto x86_set_msr_filter = detail::iow<kvm_msr_filter>(0xc6, "KVM_X86_SET_MSR_FILTER");
// clang-format on
}  // namespace requests

static_assert(sizeof(cpuid_table) == 8 + 256 * 40 && offsetof(cpuid_table, entries) == 8);
static_assert(sizeof(xsave_area) == 4096 && alignof(xsave_area) == 8);
static_assert(sizeof(msr_entries<3>) == 8 + 3 * 16 && offsetof(msr_entries<3>, entries) == 8);
static_assert(sizeof(kvm_msr_filter) == 392);
static_assert(std::is_standard_layout_v<msr_entries<1>> && std::is_standard_layout_v<xsave_area>);

static_assert(requests::get_api_version.number == 0xae00);
static_assert(requests::create_vm.number == 0xae01);
static_assert(requests::check_extension.number == 0xae03);
static_assert(requests::get_vcpu_mmap_size.number == 0xae04);
static_assert(requests::get_supported_cpuid.number == 0xc008ae05);
static_assert(requests::create_vcpu.number == 0xae41);
static_assert(requests::set_nr_mmu_pages.number == 0xae44);
static_assert(requests::set_user_memory_region.number == 0x4020ae46);
static_assert(requests::set_tss_addr.number == 0xae47);
static_assert(requests::run.number == 0xae80);
static_assert(requests::get_regs.number == 0x8090ae81);
static_assert(requests::set_regs.number == 0x4090ae82);
static_assert(requests::get_sregs.number == 0x8138ae83);
static_assert(requests::set_sregs.number == 0x4138ae84);
static_assert(requests::get_msrs<1>.number == 0xc008ae88);
static_assert(requests::set_msrs<1>.number == 0x4008ae89);
static_assert(requests::set_cpuid2.number == 0x4008ae90);
static_assert(requests::get_mp_state.number == 0x8004ae98);
static_assert(requests::set_mp_state.number == 0x4004ae99);
static_assert(requests::get_vcpu_events.number == 0x8040ae9f);
static_assert(requests::set_vcpu_events.number == 0x4040aea0);
static_assert(requests::get_debugregs.number == 0x8080aea1);
static_assert(requests::set_debugregs.number == 0x4080aea2);
static_assert(requests::enable_cap.number == 0x4068aea3);
static_assert(requests::get_xsave.number == 0x9000aea4);
static_assert(requests::set_xsave.number == 0x5000aea5);
static_assert(requests::get_xcrs.number == 0x8188aea6);
static_assert(requests::set_xcrs.number == 0x4188aea7);
static_assert(requests::get_nested_state.number == 0xc080aebe);
static_assert(requests::set_nested_state.number == 0x4080aebf);
static_assert(requests::x86_set_msr_filter.number == 0x4188aec6);

}  // namespace virtine::kvm
