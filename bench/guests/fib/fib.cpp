// Recursive Fibonacci numbers, as in bench/vcc/fib.c.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

static int fib(int n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

VIRTINE_EXPORT(fib);
