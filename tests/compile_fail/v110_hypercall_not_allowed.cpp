// error: virtine \[V110\]: the image makes a hypercall that the policy does not allow
// The default policy allows nothing, and the math image writes to its host's log.
// SPDX-License-Identifier: MIT
#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
struct drop {
  void operator()(virtine::tainted<std::string_view>) const {}
};
using logging = virtine::policy<virtine::allowed<log_line, drop>>;
virtine::virtine_fn<int(int), guests::math::fib, logging> fib;
#else
virtine::virtine_fn<int(int), guests::math::fib> fib;
#endif

// That the function is used as well adds no message.
int number() {
  return fib(20);
}
