// Exceptions of a user64 guest: the stubs they run, and the frame they leave behind.
// Must not know how a host reacts to them.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <virtine/abi/little_endian.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/x86/cpu_mode.hpp>

namespace virtine::x86 {

/// The exception vectors (SDM vol. 3, table 6-1), as members so that they stay plain numbers.
struct exception_vector {
  static constexpr std::uint8_t divide_error = 0;
  static constexpr std::uint8_t debug = 1;
  static constexpr std::uint8_t nmi = 2;
  static constexpr std::uint8_t breakpoint = 3;
  static constexpr std::uint8_t overflow = 4;
  static constexpr std::uint8_t bound_range = 5;
  static constexpr std::uint8_t invalid_opcode = 6;
  static constexpr std::uint8_t device_not_available = 7;
  static constexpr std::uint8_t double_fault = 8;
  static constexpr std::uint8_t invalid_tss = 10;
  static constexpr std::uint8_t segment_not_present = 11;
  static constexpr std::uint8_t stack_segment = 12;
  static constexpr std::uint8_t general_protection = 13;
  static constexpr std::uint8_t page_fault = 14;
  static constexpr std::uint8_t x87_floating_point = 16;
  static constexpr std::uint8_t alignment_check = 17;
  static constexpr std::uint8_t machine_check = 18;
  static constexpr std::uint8_t simd_floating_point = 19;
};

/// Returns the manuals' mnemonic of an exception vector, "reserved" or, from 32 on, "interrupt".
constexpr const char* vector_name(std::uint8_t vector) {
  constexpr const char* reserved = "reserved";
  constexpr std::array<const char*, vector_count> names{
      "#DE",    "#DB",    "NMI",    "#BP",    "#OF", "#BR", "#UD",    "#NM",
      "#DF",    reserved, "#TS",    "#NP",    "#SS", "#GP", "#PF",    reserved,
      "#MF",    "#AC",    "#MC",    "#XM",    "#VE", "#CP", reserved, reserved,
      reserved, reserved, reserved, reserved, "#HV", "#VC", "#SX",    reserved};
  return vector < vector_count ? names[vector] : "interrupt";
}

/// Returns whether the processor pushes an error code for `vector`: #DF, #TS, #NP, #SS, #GP, #PF,
/// #AC, #CP, and AMD's #VC and #SX (APM vol. 2, table 8-1).
constexpr bool has_error_code(std::uint8_t vector) {
  constexpr std::uint32_t pushing = 1U << 8 | 1U << 10 | 1U << 11 | 1U << 12 | 1U << 13 | 1U << 14 |
                                    1U << 17 | 1U << 21 | 1U << 29 | 1U << 30;
  return vector < vector_count && (pushing >> vector & 1) != 0;
}

// Error code bits of a page fault (SDM vol. 3, 4.7).
inline constexpr std::uint32_t page_fault_present = 1U << 0;  ///< Rights, not absence.
inline constexpr std::uint32_t page_fault_write = 1U << 1;
inline constexpr std::uint32_t page_fault_user = 1U << 2;      ///< The access was made at CPL 3.
inline constexpr std::uint32_t page_fault_reserved = 1U << 3;  ///< A reserved bit in an entry.
inline constexpr std::uint32_t page_fault_fetch = 1U << 4;

/// What the processor pushed when it took an exception.
struct trap_frame {
  std::uint64_t error_code = 0;  ///< 0 if the vector has none.
  std::uint64_t rip = 0;
  std::uint64_t cs = 0;
  std::uint64_t rflags = 0;  ///< Some hosts strip IOPL and all may add RF; see resume_rflags().
  std::uint64_t rsp = 0;
  std::uint64_t ss = 0;

  friend bool operator==(const trap_frame&, const trap_frame&) = default;
};

inline constexpr std::size_t trap_frame_size = 48;

/// Reads the frame of exception `vector` from the last bytes of the trap stack (SDM vol.
/// 3, 6.14.2). The guest cannot write there; the frame holds what it chose to run with, though, so
/// check `cs`.
constexpr trap_frame decode_trap_frame(std::span<const std::byte, trap_frame_size> stack_top,
                                       std::uint8_t vector) {
  const auto word = [&](std::size_t i) { return load<std::uint64_t>(stack_top, i * 8); };
  return {.error_code = has_error_code(vector) ? word(0) : 0,
          .rip = word(1),
          .cs = word(2),
          .rflags = word(3),
          .rsp = word(4),
          .ss = word(5)};
}

/// Returns whether the exception was raised at CPL 3, and not by the stubs or while entering them.
/// SS says nothing of that: on some hosts a guest, or the one before on the machine, has loaded
/// another one, which is without effect in 64-bit mode.
constexpr bool from_user(const trap_frame& frame) {
  return frame.cs == user_code_selector;
}

/// Returns the RFLAGS with which to continue after a trap: the guest's flags, with IF and IOPL as
/// at the start, and without RF, so that a debug trap at the same instruction is not lost.
constexpr std::uint64_t resume_rflags(const trap_frame& frame) {
  constexpr std::uint64_t guest_owned = 0x244dd5;  // CF PF AF ZF SF TF DF OF NT AC ID
  return (frame.rflags & guest_owned) | initial_rflags;
}

/// Returns the vector whose stub writes to `port`. A trap is real only if the exit was made at CPL
/// 0.
constexpr std::optional<std::uint8_t> trap_vector(std::uint16_t port) {
  if (port < trap_port_base || port >= trap_port_base + vector_count) return std::nullopt;
  return static_cast<std::uint8_t>(port - trap_port_base);
}

namespace detail {
constexpr page make_trap_stubs() {
  page bytes{};
  bytes.fill(std::byte{0xcc});
  for (std::size_t vector = 0; vector < vector_count; ++vector) {
    const std::size_t at = vector * trap_stub_size;
    bytes[at] = std::byte{0xe6};
    bytes[at + 1] = static_cast<std::byte>(trap_port_base + vector);
    bytes[at + 2] = std::byte{0x0f};
    bytes[at + 3] = std::byte{0x0b};
  }
  return bytes;
}
}  // namespace detail

/// The page at trap_stub_page: for each vector `out trap_port_base + vector, al; ud2`. The stubs
/// touch neither registers nor stack, so the host sees all as it was at the exception; the UD2
/// keeps a machine that is resumed by mistake from running into the next stub.
inline constexpr page trap_stubs = detail::make_trap_stubs();

static_assert(trap_port_base + vector_count <= 0x100, "the stubs have 8-bit port numbers");
static_assert(trap_stub_address(1) == trap_stub_page + 16 && trap_stubs[16] == std::byte{0xe6} &&
              trap_stubs[17] == std::byte{0xc1});

}  // namespace virtine::x86
