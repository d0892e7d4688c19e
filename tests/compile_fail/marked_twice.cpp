// error: redefinition of .*square|conflicting declaration .*square
// A name is marked once; overloads need a name each. virtine-cc, which comes first, says more.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
IMAGE_IS_OF(__FILE__)

VIRTINE(square, (int n)->int) {
  return n * n;
}
#ifndef VALID
VIRTINE(square, (int n)->int) {
  return n * n;
}
#endif
