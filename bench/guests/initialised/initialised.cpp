// A guest with an initialiser: a constructor that no compiler can run.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

struct table {
  table() {
    for (volatile int& each : entries) each = 7;
  }
  volatile int entries[64];
};

static table numbers;

static int first() {
  return numbers.entries[0];
}

VIRTINE_EXPORT(first);
