// Exports what is written in C; a C function has no signature that could be recorded.
// SPDX-License-Identifier: MIT
#include <string_view>

#include <virtine/guest.hpp>

#include "count.h"

static unsigned long words(std::string_view text) {
  return count_words(text.data(), text.size());
}

VIRTINE_EXPORT(words);
