// One of two source files that include everything: they must link, and mean the same.
// SPDX-License-Identifier: MIT
#include <cstdio>

#include "odr.hpp"

int main() {
  // Written out in each file, because a shared function could come from either.
  const addresses here{&guests::square::description,
                       &guests::math::description,
                       &guests::fib64::description,
                       guests::math::description.segments.front().content.data(),
                       &virtine::to_string,
                       &virtine::detail::layout_of,
                       &virtine::virtine_fn<int(int), guests::square>::try_call};
  if (here == addresses_in_second()) return 0;
  std::puts("an inline entity of the library or of an image exists twice in one program");
  return 1;
}
