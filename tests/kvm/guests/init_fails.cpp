// Images whose initialiser does not come to its end.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

namespace {

struct ask : virtine::hypercall<9, void()> {};

void broken_init() {
#if defined(FAULTS)
  __builtin_trap();
#elif defined(LOOPS)
  for (;;) asm volatile("");
#elif defined(ASKS)
  virtine::guest::call<ask>();
#endif
}

int answer() {
  return 42;
}

}  // namespace

VIRTINE_INIT(broken_init);
VIRTINE_EXPORT(answer);
