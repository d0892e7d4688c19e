// error: virtine \[V107\]: the library cannot see into a type
// A union can hold a pointer without being a class.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

#ifdef VALID
using number = long;
#else
union number {
  long integer;
  const char* text;
};
#endif

virtine::detail::frame<void(number)> frame;
