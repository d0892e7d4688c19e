// error: virtine \[V107\]: a struct has a pointer or reference member
// A pointer that a guest made up must not become one of the host's.
// SPDX-License-Identifier: MIT
#include <virtine/frame.hpp>

struct found {
  int count = 0;
#ifndef VALID
  const char* first = nullptr;
#endif
};

virtine::frame<found(int)> frame;
