// The types that the values and raw guests share with their hosts.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/abi/checks.hpp>

enum class colour : std::uint8_t { red = 1, green = 2, blue = 3 };

template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green || value == colour::blue;
  }
};

/// Has padding after each member.
struct padded {
  char tag = 0;
  double number = 0;
  std::uint16_t small = 0;
};
static_assert(sizeof(padded) == 24);

/// Not every pattern of bytes is one.
struct interval {
  int low = 0;
  int high = 0;
};

template <>
struct virtine::valid_reply<interval> {
  static constexpr bool check(interval value) { return value.low <= value.high; }
};

/// As strictly aligned as a frame allows.
struct alignas(64) block {
  std::uint64_t words[8] = {};
};
