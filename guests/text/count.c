// SPDX-License-Identifier: MIT
#include "count.h"

static int is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

unsigned long count_words(const char* text, unsigned long size) {
  unsigned long words = 0;
  int inside = 0;
  for (unsigned long at = 0; at < size; ++at) {
    const int space = is_space(text[at]);
    if (!space && !inside) ++words;
    inside = !space;
  }
  return words;
}
