// What the probe guest and its test share.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/abi/checks.hpp>
#include <virtine/hypercall.hpp>

enum class colour : std::uint8_t { red = 1, green = 2 };

template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green;
  }
};

/// A struct with padding, and one that asks for as much alignment as a frame gives.
struct padded {
  char tag;
  std::int64_t value;
  bool flag;
};
struct alignas(64) wide {
  unsigned char lanes[64];
};

/// Asks the host to fill `room` and to return how much of it is used.
struct fetch : virtine::hypercall<7, std::uint32_t(std::string_view, std::span<char>, padded)> {};
