// guest::arguments: the strings that a program would find in argv.
// Must not know who grants them. Freestanding, but for memory from new.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <virtine/environment.hpp>
#include <virtine/guest/call.hpp>

namespace virtine::detail {

/// Asks the host for the arguments, into memory that lasts as long as the guest's state.
inline std::span<const std::string_view> fetch_arguments() {
  const auto size = guest::call<program_arguments>({});
  if (size == 0) return {};
  const std::span text(new char[size], size);
  guest::call<program_arguments>(std::as_writable_bytes(text));
  std::size_t count = 0;
  for (char each : text) {
    if (each == '\0') ++count;
  }
  const std::span strings(new std::string_view[count], count);
  const char* next = text.data();
  for (std::string_view& each : strings) {
    each = next;
    next += each.size() + 1;
  }
  return strings;
}

}  // namespace virtine::detail

namespace virtine::guest {

/// Returns the arguments that the policy grants by posix::arguments(), the name of the program
/// first; none if it grants none. They last as long as the guest's state: for the call, or for the
/// session. The first use costs two exits to the host and memory of the heap for the strings; an
/// initialiser must not ask, as it may make no hypercall.
inline std::span<const std::string_view> arguments() {
  static const std::span<const std::string_view> granted = virtine::detail::fetch_arguments();
  return granted;
}

}  // namespace virtine::guest
