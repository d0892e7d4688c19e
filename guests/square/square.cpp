// The smallest image: one function, which has the image's name.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

static int square(int n) {
  return n * n;
}

VIRTINE_EXPORT(square);
