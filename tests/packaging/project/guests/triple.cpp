// The guest of a project that only uses the library.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

static int triple(int n) {
  return n * 3;
}

VIRTINE_EXPORT(triple);
