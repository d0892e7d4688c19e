// error: virtine \[V110\]: the function can make a hypercall .*Image, decltype\(policy\)>
// The default policy allows nothing. Of the functions of the image sum alone writes to its host's
// log, so fib needs no other policy.
// SPDX-License-Identifier: MIT
#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
struct drop {
  void operator()(virtine::tainted<std::string_view>) const {}
};
using logging = virtine::policy<virtine::allowed<log_line, drop>>;
virtine::virtine_fn<long(std::span<const int>), guests::math::sum, logging> sum;
#else
virtine::virtine_fn<long(std::span<const int>), guests::math::sum> sum;
#endif

// That the function is used as well adds no message.
long number() {
  return sum({});
}

virtine::virtine_fn<int(int), guests::math::fib> fib;
