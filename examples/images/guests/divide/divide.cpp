// Divides, for a debugger to see how it goes wrong.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

static int share(int total, int heads) {
  return total / heads;
}

static int divide(int total, int heads) {
  const int each = share(total, heads);
  return each;
}

VIRTINE_EXPORT(divide);
