// A bug of the kind that parsers have, for the tests of what it gives to those who exploit it: a
// field's value is decoded into a buffer on the stack, whatever its length.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

namespace http {

namespace detail {

[[gnu::noinline]] inline void decode_without_limit(std::string_view value, char* to) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  for (std::size_t i = 0; i + 1 < value.size(); i += 2) {
    *to++ = static_cast<char>(digit(value[i]) * 16 + digit(value[i + 1]));
  }
}

}  // namespace detail

[[gnu::noinline]] inline void planted_bug(std::string_view value) {
  char trace[32];
  detail::decode_without_limit(value, trace);
  asm volatile("" : : "r"(trace) : "memory");
}

}  // namespace http
