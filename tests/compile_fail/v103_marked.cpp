// error: virtine \[V103\]: the signature differs
// The image's function of this name has another signature.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
IMAGE_IS_OF(__FILE__)

#ifdef VALID
VIRTINE(square, (int n)->int) {
#else
VIRTINE(square, (long n)->long) {
#endif
  return n * n;
}
