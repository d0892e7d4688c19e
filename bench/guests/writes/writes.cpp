// Writes to a given number of pages, in order or all over its memory.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>

#include <virtine/guest.hpp>

namespace {

constexpr std::size_t page = 4096;
constexpr std::uint32_t page_count = 1024;

alignas(page) volatile unsigned char memory[page_count][page];

std::uint32_t upwards(std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) memory[i][0] = 1;
  return count;
}

// 512 is where it starts: neither of the two steps, 389 and 1024, leads to a neighbour.
std::uint32_t scattered(std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i) memory[(512 + i * 389) % page_count][0] = 1;
  return count;
}

}  // namespace

VIRTINE_EXPORT(upwards);
VIRTINE_EXPORT(scattered);
