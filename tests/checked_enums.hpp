// Enums whose values a guest can forge: one with gaps, and one of which every bool is a value.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/valid_reply.hpp>

enum class colour : std::uint8_t { red = 1, green = 2 };
enum class verdict : bool { bad, good };

template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green;
  }
};
template <>
struct virtine::valid_reply<verdict> {
  static constexpr bool check(verdict) { return true; }
};
