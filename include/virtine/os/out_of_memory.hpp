// Running out of memory as an error value. Knows nothing of what needs the memory.
// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <new>
#include <stdexcept>

#include <virtine/error.hpp>
#include <virtine/result.hpp>

namespace virtine::os {

/// Returns what a call fails with that the C++ library has no memory for.
constexpr error out_of_memory() {
  return {.code = errc::os_error,
          .os_error = ENOMEM,
          .operation =
              "this process is out of memory; raise the limits (ulimit -v, the cgroup's "
              "memory.max) or keep fewer machines"};
}

/// Returns what `body` returns, a result; out_of_memory() if it runs out of memory. For the
/// library's own code: what a program's code throws is to reach its caller as it is.
template <class Body>
auto or_out_of_memory(const Body& body) -> decltype(body()) {
#ifdef __cpp_exceptions
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::length_error&) {
    return out_of_memory();
  }
#else
  return body();
#endif
}

}  // namespace virtine::os
