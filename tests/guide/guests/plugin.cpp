// The plug-in of the guide.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

static int square(int n) {
  return n * n;
}
VIRTINE_EXPORT(square);
