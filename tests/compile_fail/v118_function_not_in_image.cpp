// error: virtine \[V118\]: the image of this file was made before this function was marked
// A function that the image does not have was marked after the image was made.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
IMAGE_IS_OF(__FILE__)

#ifdef VALID
VIRTINE(square, (int n)->int) {
#else
VIRTINE(cube, (int n)->int) {
#endif
  return n * n;
}
