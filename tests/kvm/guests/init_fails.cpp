// Images whose initialiser does not come to its end, or asks for what it does not get.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

#include "system_call.hpp"

namespace {

struct ask : virtine::hypercall<9, void()> {};

long told = 0;

void broken_init() {
#if defined(FAULTS)
  __builtin_trap();
#elif defined(LOOPS)
  for (;;) asm volatile("");
#elif defined(ASKS)
  virtine::guest::call<ask>();
#elif defined(CALLS)
  told = raw::system_call(39);
#elif defined(FLOODS)
  for (;;) raw::system_call(39);
#elif defined(EXITS)
  raw::system_call(231, 7);
#endif
}

int answer() {
  return 42 + static_cast<int>(told);
}

}  // namespace

VIRTINE_INIT(broken_init);
VIRTINE_EXPORT(answer);
