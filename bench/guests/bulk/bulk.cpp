// Functions that take many bytes: they touch none of them, all, or one in each cache line.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <span>

#include <virtine/guest.hpp>

static unsigned long size(std::span<const std::byte> data) {
  return data.size();
}

static unsigned long sum(std::span<const std::byte> data) {
  unsigned long total = 0;
  for (std::byte value : data) total += std::to_integer<unsigned long>(value);
  return total;
}

static unsigned long lines(std::span<const std::byte> data) {
  unsigned long total = 0;
  for (std::size_t i = 0; i < data.size(); i += 64) {
    total += std::to_integer<unsigned long>(data[i]);
  }
  return total;
}

VIRTINE_EXPORT(size);
VIRTINE_EXPORT(lines);
VIRTINE_EXPORT(sum);
