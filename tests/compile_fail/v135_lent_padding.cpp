// error: virtine \[V135\]: the elements of lent memory have padding
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

struct weight {
  float value;
#ifdef VALID
  float variance;
#else
  alignas(8) float variance;
#endif
};

std::size_t count(const virtine::lent_memory& memory) {
  static_assert(virtine::detail::is_acceptable<float(virtine::lent<const weight>)>);
  return virtine::lent<const weight>(memory).size();
}
