// error: virtine \[V107\]: the library cannot see into a type
// A union can hold a pointer without being a class.
// SPDX-License-Identifier: MIT
#include <virtine/frame.hpp>

#ifdef VALID
using number = long;
#else
union number {
  long integer;
  const char* text;
};
#endif

virtine::frame<void(number)> frame;
