// error: virtine \[V107\]: the library cannot see into a type
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
