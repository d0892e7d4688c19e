// The first guest of the guide.
// SPDX-License-Identifier: MIT
#include <span>
#include <virtine/guest.hpp>

static long sum(std::span<const int> values) {
  long total = 0;
  for (int value : values) total += value;
  return total;
}

VIRTINE_EXPORT(sum);
