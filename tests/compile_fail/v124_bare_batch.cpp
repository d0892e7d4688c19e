// error: virtine \[V124\]: batches and sessions run in a loop that bare images lack
// SPDX-License-Identifier: MIT
#include <array>

#include <guests/fib32.hpp>
#include <virtine/virtine.hpp>

bool all() {
  virtine::virtine_fn<int(int), guests::fib32> fib;
#ifdef VALID
  return fib.each(std::array{1, 2}).empty();
#else
  return fib.together(std::array{1, 2}).has_value();
#endif
}
