// error: virtine_V141_write_VIRTINE_name_comma_parameters
// The parameters come first.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
IMAGE_IS_OF(__FILE__)

// clang-format off
#ifdef VALID
VIRTINE(square, (int n) -> int) {
#else
VIRTINE(square, int(int n)) {
#endif
  return n * n;
}
