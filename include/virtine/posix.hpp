// The parts of a POSIX system that guests may use: the grants, and ready-made policies.
// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/allow_entropy.hpp>
#include <virtine/policy.hpp>
#include <virtine/posix/grants.hpp>

namespace virtine::posix {

/// A policy for code that only computes, but comes with a C library. It may print, of which `sink`
/// gets up to `most` bytes, and read the clock. All other system calls fail with ENOSYS.
template <class Sink>
auto minimal(Sink&& sink, std::uint64_t most = 64 << 10) {
  return policy{output(std::forward<Sink>(sink), most), clock(), others_fail_with_enosys()};
}

/// The same, but what it prints is dropped.
template <class Text = std::string_view>  // A template, so that only its users pay for its types.
auto minimal() {
  return minimal([](Text) {}, UINT64_MAX);
}

#ifdef __cpp_exceptions
/// A policy that gives guests the host: every file that the host's process can read or write, at
/// the host's own paths, its environment, time and random bytes. The machine is then no boundary.
/// Throws failure if "/" cannot be opened.
template <std::same_as<std::uint64_t> Count = std::uint64_t>
auto permissive_exposes_host(Count most = max_written) {
  std::vector<std::string> strings;
  for (char** each = ::environ; each != nullptr && *each != nullptr; ++each) {
    strings.emplace_back(*each);
  }
  return policy{directory<"/">("/", read_write, most),
                clock(),
                allow_entropy(),
                environment(strings),
                descriptor<0>(STDIN_FILENO, read_only),
                descriptor<1>(STDOUT_FILENO, write_only),
                descriptor<2>(STDERR_FILENO, write_only),
                others_fail_with_enosys()};
}
#endif

}  // namespace virtine::posix
