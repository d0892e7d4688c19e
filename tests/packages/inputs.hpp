// Inputs of the tests, the same in every run.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace inputs {

using bytes = std::vector<std::uint8_t>;

/// Bytes of which a compressor can make nothing.
inline bytes noise(std::size_t size, std::uint32_t seed = 1) {
  std::mt19937 next(seed);
  bytes out(size);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(next());
  return out;
}

/// Words in no order.
inline bytes text(std::size_t size) {
  constexpr std::string_view words[] = {"machine ", "of ",  "its ",  "own ",   "wiped ",
                                        "before ",  "the ", "next ", "call\n", "virtine "};
  std::mt19937 next(7);
  bytes out;
  while (out.size() < size) {
    const std::string_view word = words[next() % std::size(words)];
    out.insert(out.end(), word.begin(), word.end());
  }
  out.resize(size);
  return out;
}

inline bytes of(std::string_view text) {
  return {text.begin(), text.end()};
}

/// The kinds and sizes that compressors tend to treat differently.
inline std::vector<bytes> all() {
  return {{},          of("a"),       bytes(1, 0), bytes(10'000, 'x'), noise(1),
          noise(1000), noise(30'000), text(100),   text(30'000)};
}

}  // namespace inputs
