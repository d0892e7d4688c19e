// error: virtine \[V121\]: this is not a function of an image
// An image with several functions cannot stand for one of them.
// SPDX-License-Identifier: MIT
#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <virtine/virtine.hpp>

struct drop {
  void operator()(virtine::tainted<std::string_view>) const {}
};
using logging = virtine::policy<virtine::allowed<log_line, drop>>;

#ifdef VALID
virtine::virtine_fn<int(int), guests::math::fib, logging> fib;
#else
virtine::virtine_fn<int(int), guests::math, logging> fib;
#endif

// That the function is used as well adds no message.
int number() {
  return fib(20);
}
