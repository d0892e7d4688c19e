// error: virtine \[V134\]: lent memory cannot be written by the guest
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#ifdef VALID
using numbers = virtine::lent<const float>;
#else
using numbers = virtine::lent<float>;
#endif

std::size_t count(const virtine::lent_memory& memory) {
  static_assert(virtine::detail::is_acceptable<float(numbers)>);
  return numbers(memory).size();
}
