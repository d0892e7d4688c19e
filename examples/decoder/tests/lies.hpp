// What the lying guest does: the first byte of its file says it.
// SPDX-License-Identifier: MIT
#pragma once

enum class lie : unsigned char {
  none,
  too_many_bytes,
  bytes_after_the_end,
  another_size,
  above_the_limit,
  no_width,
  too_few_bytes,
  no_bytes,
  odd_words,
};
