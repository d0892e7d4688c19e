// error: virtine_V141_write_an_arrow_and_the_type_of_the_result
// The type of the result has to be written.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
IMAGE_IS_OF(__FILE__)

// clang-format off
#ifdef VALID
VIRTINE(square, (int n) -> int) {
#else
VIRTINE(square, (int n)) {
#endif
  return n * n;
}
