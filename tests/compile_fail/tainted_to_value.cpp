// error: cannot convert .*tainted<int>.* to |no viable conversion from .*tainted<int>.* to
// What a guest gave becomes a value by a verifier only.
// SPDX-License-Identifier: MIT
#include <virtine/tainted.hpp>

#ifdef VALID
int level(virtine::tainted<int> given) {
  const auto checked = given.verify(virtine::between<0, 9>);
  return checked.value_or(0);
}
#else
int level(virtine::tainted<int> given) {
  const int checked = given;
  return checked;
}
#endif
