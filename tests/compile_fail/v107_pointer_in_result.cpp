// error: virtine \[V107\]: a type has a pointer or a reference in it
// A pointer that a guest made up must not become one of the host's.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

struct found {
  int count = 0;
#ifndef VALID
  const char* first = nullptr;
#endif
};

virtine::detail::frame<found(int)> frame;
