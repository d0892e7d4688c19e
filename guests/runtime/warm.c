// Lets malloc make its own beginnings before the snapshot, so that calls do not have to.
// Must not know how it does.
// SPDX-License-Identifier: MIT

#include <stdlib.h>

void virtine_warm_heap(void) {
  void* volatile memory = malloc(1);  // Otherwise the compiler takes both calls for nothing.
  free(memory);
}
