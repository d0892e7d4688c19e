// What spy, victim and their host agree on.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// By what the victim gives its secret away.
enum channel : int {
  l1d,     ///< The set of the first data cache that it reads.
  l2,      ///< The column of a table as large as the second cache that it reads.
  shared,  ///< The page of the image's constants that it reads, which the spy's machine has, too.
  direction,  ///< Whether it takes conditional branches.
  target,     ///< Where its indirect jumps go.
};

inline constexpr std::size_t channels = 5;

/// How many values a secret of the channel can have.
constexpr int secrets_of(channel which) {
  return which < direction ? 16 : 2;
}

/// Cycles of the time stamp counter that parts of the spy's probe took.
using seen = std::array<std::uint32_t, 64>;

/// How many parts a probe of the channel has.
constexpr std::size_t parts_of(channel which) {
  return which == l1d ? 64 : which < direction ? 16 : 8;
}

/// Which set, column or page of the 64 a secret stands for. Neighbours are never two secrets,
/// because processors fetch neighbours unasked.
constexpr std::size_t place_of(int secret) {
  return static_cast<std::size_t>(4 * secret + 2);
}
