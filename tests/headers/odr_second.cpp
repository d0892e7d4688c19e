// The other of two source files that include everything.
// SPDX-License-Identifier: MIT
#include "odr.hpp"

addresses addresses_in_second() {
  return {&guests::square::description,
          &guests::math::description,
          &guests::fib64::description,
          guests::math::description.segments.front().content.data(),
          &virtine::to_string,
          &virtine::detail::layout_of,
          &virtine::virtine_fn<int(int), guests::square>::try_call};
}
