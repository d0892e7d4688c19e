// Functions that do what a function should not.
// SPDX-License-Identifier: MIT
#include "trouble.hpp"

#include <cstdint>

#include <virtine/guest.hpp>

namespace {

void spin() {
  for (;;) asm volatile("pause");
}

void flood() {
  for (;;) virtine::guest::call<knock>();
}

int peek(std::uint64_t address) {
  return *reinterpret_cast<volatile int*>(address);
}

void poke(std::uint64_t address, int value) {
  *reinterpret_cast<volatile int*>(address) = value;
}

int divide(int a, int b) {
  asm("" : "+r"(b));  // Hidden, because the compiler may assume that it is not 0.
  return a / b;
}

int deep(volatile int* previous) {
  volatile int here = *previous + 1;
  return here < 0 ? 0 : deep(&here) + here;
}

int recurse() {
  volatile int start = 0;
  return deep(&start);
}

}  // namespace

VIRTINE_EXPORT(spin);
VIRTINE_EXPORT(flood);
VIRTINE_EXPORT(peek);
VIRTINE_EXPORT(poke);
VIRTINE_EXPORT(divide);
VIRTINE_EXPORT(recurse);
