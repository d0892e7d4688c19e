// A 64-bit digest of words and bytes, which finds damage. Not a cryptographic one: who wants two
// texts of one digest can make them. Knows nothing of what is digested.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace virtine::detail {

/// Digests what it is given, in order. Two inputs that differ within eight bytes only, counted from
/// the beginning of one add(), never have the same digest; others by chance, once in 2^64.
class digest {
 public:
  constexpr digest& add(std::uint64_t word) {
    // Both steps are reversible, so different states stay different whatever follows.
    state_ = (state_ ^ word) * 0x9e3779b97f4a7c15;
    state_ ^= state_ >> 32;
    return *this;
  }

  /// Adds the bytes and how many they are.
  digest& add(std::span<const std::byte> bytes) {
    add(std::uint64_t{bytes.size()});
    while (!bytes.empty()) {
      const std::size_t size = bytes.size() < 8 ? bytes.size() : 8;
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), size);
      add(word);
      bytes = bytes.subspan(size);
    }
    return *this;
  }

  digest& add(std::string_view text) { return add(std::as_bytes(std::span(text))); }

  [[nodiscard]] constexpr std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0x243f6a8885a308d3;  // Not 0, which adding zeros would leave.
};

}  // namespace virtine::detail
