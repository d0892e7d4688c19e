// An image whose initialiser does not end.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

namespace {

void prepare() {
  for (volatile int i = 0;; i = i + 1) {
  }
}
int stuck() {
  return 1;
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(stuck);
