// error: virtine \[V114\]: a guest can give this class to the host, and it is too large
// Padding or bools somewhere in it: which, would take the compiler too long to find out.
// SPDX-License-Identifier: MIT
#include <virtine/abi/object_bytes.hpp>

struct sample {
  bool good;
  double value;
};

#ifdef VALID
using samples = std::array<sample, 1000>;
#else
struct samples {
  sample all[1000];
};
#endif

bool take(const std::byte* from) {
  return virtine::detail::decode<samples>(from).has_value();
}
