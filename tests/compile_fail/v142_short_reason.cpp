// error: virtine \[V142\]: unverified_because
// The reason is what a reviewer greps for.
// SPDX-License-Identifier: MIT
#include <virtine/tainted.hpp>

int level(virtine::tainted<int> given) {
#ifdef VALID
  return given.unverified_because("it is only shown, never used");
#else
  return given.unverified_because("trust");
#endif
}
