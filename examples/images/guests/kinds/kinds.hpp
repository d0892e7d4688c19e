// What the kinds guest and its hosts share: the types that cross the boundary.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/abi/checks.hpp>

struct rectangle {
  double width = 0;
  double height = 0;
};

enum class shape : std::uint8_t { flat, square, other };

/// Which numbers a guest may return as a shape; without this, returning one does not compile.
template <>
struct virtine::valid_reply<shape> {
  static constexpr bool check(shape value) {
    return value == shape::flat || value == shape::square || value == shape::other;
  }
};
