// Little-endian loads and stores over byte spans, usable in constant expressions.
// Must not know what the bytes mean.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <concepts>
#include <cstddef>
#include <span>

namespace virtine::x86 {

/// Writes `value` at `offset`, least significant byte first. The bytes must lie within the span.
template <std::unsigned_integral T>
constexpr void store(std::span<std::byte> bytes, std::size_t offset, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[offset + i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
  }
}

/// Reads a T from `offset`, least significant byte first. The bytes must lie within the span.
template <std::unsigned_integral T>
constexpr T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    const auto byte = std::to_integer<T>(bytes[offset + i]);
    value = static_cast<T>(value | static_cast<T>(byte << (8 * i)));
  }
  return value;
}

}  // namespace virtine::x86
