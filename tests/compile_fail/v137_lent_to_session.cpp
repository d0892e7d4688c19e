// error: virtine \[V137\]: the guest of a session cannot be lent memory
// SPDX-License-Identifier: MIT
#include <span>

#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <virtine/virtine.hpp>

struct drop {
  void operator()(virtine::tainted<std::string_view>) const {}
};
using logging = virtine::policy<virtine::allowed<log_line, drop>>;

#ifdef VALID
using numbers = std::span<const int>;
#else
using numbers = virtine::lent<const int>;
#endif

long total(numbers values) {
  virtine::virtine_fn<long(numbers), guests::math::sum, logging> sum;
  virtine::session staying(sum);
  return staying(values);
}
