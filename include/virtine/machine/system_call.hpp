// A system call as Linux defines it for x86-64, made by a guest, and what it is answered.
// Knows nothing of who answers it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/syscall.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <virtine/error.hpp>

namespace virtine::detail {

/// What a guest that makes a system call asks for. All of it is the guest's choice.
struct system_call {
  std::uint32_t number = 0;
  std::array<std::uint64_t, 6> arguments{};
};

/// How a policy answers a system call.
struct system_call_answer {
  std::int64_t value = 0;           ///< A result, or a negative errno.
  std::chrono::nanoseconds wait{};  ///< How long the guest is to sleep before it goes on.
  bool again = false;               ///< Nothing was done, as it would block: ask again.
  bool denied = false;              ///< No grant is about this call.
  bool refused = false;             ///< `grant` is, but does not go so far.
  std::size_t grant = SIZE_MAX;     ///< Which grant of the policy answered, if one did.
};

/// Returns whether the guest asks to end itself, which needs nobody's permission.
constexpr bool is_exit(const system_call& call) {
  return call.number == SYS_exit || call.number == SYS_exit_group;
}

/// Returns what such a call ends with; the status is one byte, as a parent process would see it.
constexpr error exited_by(const system_call& call) {
  return {.code = errc::exited, .detail = call.arguments[0] & 0xff};
}

}  // namespace virtine::detail
