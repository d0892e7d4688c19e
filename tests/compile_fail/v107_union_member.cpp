// error: virtine \[V107\]: a struct has a pointer or reference member
// What a union holds cannot be seen before the program runs; the user has to vouch for it.
// SPDX-License-Identifier: MIT
#include <virtine/frame.hpp>

struct number {
  union {
    long integer = 0;
    double real;
  };
};

#ifdef VALID
template <>
inline constexpr bool virtine::holds_no_pointer<number> = true;
#endif

virtine::frame<int(number)> frame;
