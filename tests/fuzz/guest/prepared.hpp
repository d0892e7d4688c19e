// What sequences find in their constants and data: areas that restore state, far pointers, numbers
// of all kinds. Knows nothing of instructions.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dice.hpp"
#include "places.hpp"

namespace guest_fuzz::prepared {

// Offsets in the constants.
inline constexpr std::size_t state = 0;          ///< An XSAVE area, and so an FXSAVE area.
inline constexpr std::size_t mxcsr = 0xc00;      ///< 16 words that LDMXCSR takes.
inline constexpr std::size_t fcw = 0xc40;        ///< 16 words for FLDCW.
inline constexpr std::size_t selectors = 0xc80;  ///< 8 selectors that can be loaded.
inline constexpr std::size_t far = 0xcc0;        ///< 8 far pointers, 16 bytes each.
/// Of the components of `state` those that XSTATE_BV names: x87, SSE, AVX, AVX-512.
inline constexpr std::uint64_t components = 0xe7;

template <class T>
void store(std::vector<std::uint8_t>& to, std::size_t at, T value) {
  std::memcpy(to.data() + at, &value, sizeof value);
}

inline std::vector<std::uint8_t> constants(dice random, const places& where) {
  std::vector<std::uint8_t> out(page);
  for (auto& each : out) each = random.byte();
  store(out, state,
        static_cast<std::uint16_t>(random.chance(70) ? 0x37f : 0x040 | random.below(0x1000)));
  store(out, state + 24,
        static_cast<std::uint32_t>(random.chance(70) ? 0x1f80 : random.below(0x10000) & 0xffbf));
  std::memset(out.data() + state + 512, 0, 64);
  store(out, state + 512, random.next() & components);
  for (std::size_t i = 0; i < 16; ++i) {
    store(out, mxcsr + 4 * i,
          static_cast<std::uint32_t>(random.below(0x10000) & (i < 12 ? 0xffff : 0xfff)) |
              (i < 12 ? 0x1f80U : 0U));
    store(out, fcw + 2 * i,
          static_cast<std::uint16_t>(random.below(0x1000) | (i < 12 ? 0x7fU : 0x40U)));
  }
  for (std::size_t i = 0; i < 8; ++i) {
    store(out, selectors + 2 * i, random.of<std::uint16_t>({0, 0x28, 0x2b, 0x30, 0x33}));
    store(out, far + 16 * i, where.code + page + random.below(256 * 256));
    store(out, far + 16 * i + 8,
          random.of<std::uint16_t>({0x33, 0x33, 0x30, 0x2b, 0x23, 0x0b, 0x38, 0}));
  }
  return out;
}

inline std::vector<std::uint8_t> data(dice random, const places& where) {
  std::vector<std::uint8_t> out(2 * page);
  for (auto& each : out) each = random.byte();
  // Numbers on which instructions differ, and addresses.
  for (std::size_t at = 0; at < page; at += 8) {
    if (random.chance(30))
      store(out, at, random.of<double>({0.0, -0.0, 1.5, 1e308, 5e-324, -1e-310, 3.0}));
    if (random.chance(20)) store(out, at, where.data + random.below(2 * page));
    if (random.chance(10))
      store(out, at,
            random.of<std::uint64_t>({0, ~std::uint64_t{0}, std::uint64_t{1} << 63,
                                      0x7ff0000000000000, 0xfff8000000000000}));
  }
  return out;
}

}  // namespace guest_fuzz::prepared
