// How a guest's runtime ends a call that cannot go on: an instruction that no processor has, with
// the reason in it and the place in RCX. Both sides read it here.
// Must not know what a host makes of it. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <virtine/abi/little_endian.hpp>

namespace virtine::x86 {

/// Why the runtime ended a call.
enum class abort_reason : std::uint16_t {
  aborted = 1,
  assertion_failed,
  terminated,          ///< By std::terminate, though no exception was thrown.
  uncaught_exception,  ///< An exception was thrown that nothing catches.
  out_of_memory,       ///< operator new had no more, and nothing catches std::bad_alloc.
  pure_virtual_call,
  memory_corrupted,      ///< A check that the compiler put in found something overwritten.
  panicked,              ///< A Rust guest did.
  unavailable_function,  ///< The place is a function that stands for one that no guest has.
};

inline constexpr std::size_t abort_code_size = 7;
inline constexpr std::uint16_t abort_mark = 0x5649;

/// Ends the call, at `place` as far as a report is concerned: `ud1 eax, [rax + reason]`, which
/// raises #UD before anything of it is carried out.
template <abort_reason Why>
[[noreturn, gnu::always_inline]] inline void end_call(const void* place) {
  asm volatile("ud1 %c[reason](%%rax), %%eax"
               :
               : [reason] "i"(static_cast<std::uint32_t>(abort_mark) << 16 |
                              static_cast<std::uint32_t>(Why)),
                 "c"(place));
  __builtin_unreachable();
}

/// Returns why the guest ended its call, if `code` is the instruction by which it does.
constexpr std::optional<abort_reason> decode_abort(
    std::span<const std::byte, abort_code_size> code) {
  const bool is_ud1 =
      code[0] == std::byte{0x0f} && code[1] == std::byte{0xb9} && code[2] == std::byte{0x80};
  const auto reason = load<std::uint16_t>(code, 3);
  if (!is_ud1 || load<std::uint16_t>(code, 5) != abort_mark) return std::nullopt;
  if (reason == 0 || reason > static_cast<std::uint16_t>(abort_reason::unavailable_function)) {
    return std::nullopt;
  }
  return static_cast<abort_reason>(reason);
}

}  // namespace virtine::x86
