// error: virtine \[V103\]: the signature differs from the one this guest function was compiled with
// A span that the guest fills is not one that it reads.
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
virtine::virtine_fn<void(std::span<double>, double), guests::math::scale, logging> scale;
#else
virtine::virtine_fn<void(std::span<const double>, double), guests::math::scale, logging> scale;
#endif
