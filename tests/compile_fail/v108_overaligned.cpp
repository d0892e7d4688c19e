// error: virtine \[V108\]: a type asks for an alignment above 64 bytes
// A call frame is aligned to a cache line and no more.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

#ifdef VALID
struct alignas(64) line {
  int value = 0;
};
#else
struct alignas(128) line {
  int value = 0;
};
#endif

virtine::detail::frame<int(line)> frame;
