// error: virtine \[V107\]: a type has a pointer or a reference in it
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
