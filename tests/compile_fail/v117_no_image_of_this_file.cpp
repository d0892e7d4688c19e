// error: virtine \[V117\]: there is no image of this file
// A marked function has nothing to run in if the header of the file's image is not there.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
#ifdef VALID
IMAGE_IS_OF(__FILE__)
#endif

VIRTINE(square, (int n)->int) {
  return n < 2 ? n : square(n - 1);
}

// That the function is used as well adds no message.
int number() {
  virtine::virtine_fn own{square};
  return square(3) + square.try_call(4).value() + own(5);
}
