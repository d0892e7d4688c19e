// Functions that do nothing useful, so that what is measured is the way to them and back.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

static void nothing() {}

static void crash() {
  __builtin_trap();
}

static void spin() {
  for (;;) asm volatile("pause");
}

VIRTINE_EXPORT(nothing);
VIRTINE_EXPORT(crash);
VIRTINE_EXPORT(spin);
