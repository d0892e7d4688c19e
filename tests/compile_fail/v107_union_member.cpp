// error: virtine \[V107\]: a type has a pointer or a reference in it
// What a union holds cannot be seen before the program runs; the user has to vouch for it.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

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

virtine::detail::frame<int(number)> frame;
