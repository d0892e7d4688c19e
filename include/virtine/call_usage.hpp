// What calls used: exits, pages, bytes and time.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <chrono>
#include <cstdint>

namespace virtine {

/// What the calls have used that were made with it as call_options::usage. Each call adds to it,
/// whether it succeeds or not; `fn.with({.usage = &used})(3)`. One call at a time may have it.
///
/// A call with it reads four clocks more for each exit, and compares each page that its machine
/// restores with what it was.
struct call_usage {
  std::uint64_t calls = 0;  ///< Begun on a machine. A batch (together) is one for each stay.
  std::uint64_t exits = 0;  ///< Of the guest to the host: one for each call at least.
  std::uint64_t traps = 0;  ///< Exits for a first write to a page, or for a fault.
  /// Pages that differ from the image's snapshot when the guest has ended, those of arguments
  /// included. Not counted for bare images, whose whole memory is restored.
  std::uint64_t pages_written = 0;
  std::uint64_t bytes_in = 0;              ///< Written to guest memory: arguments, and by handlers.
  std::uint64_t bytes_out = 0;             ///< Read from it: results and outputs, and by handlers.
  std::chrono::nanoseconds guest_time{0};  ///< Wall-clock time in KVM_RUN.
  std::chrono::nanoseconds guest_cpu{0};   ///< CPU time of the calling thread in KVM_RUN.
};

namespace detail {
/// Adds to one of the numbers, if there are any.
inline void add_to(call_usage* used, std::uint64_t call_usage::*what, std::uint64_t more) {
  if (used != nullptr) [[unlikely]]
    used->*what += more;
}
}  // namespace detail

}  // namespace virtine
