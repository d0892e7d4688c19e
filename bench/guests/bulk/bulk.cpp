// Functions that take many bytes: one that touches none of them, one that reads all.
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

VIRTINE_EXPORT(size);
VIRTINE_EXPORT(sum);
