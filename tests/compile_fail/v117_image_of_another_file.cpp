// error: virtine \[V117\]: there is no image of this file
// An image of a file of the same name in another folder must not run, nor the function's body by
// itself.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(square, int(int))
#ifdef VALID
IMAGE_IS_OF("../compile_fail/v117_image_of_another_file.cpp")
#else
IMAGE_IS_OF("../other/v117_image_of_another_file.cpp")
#endif

VIRTINE(square, (int n)->int) {
  return n * n;
}

int number(virtine::pool<guests::app>& machines) {
  virtine::virtine_fn shared{square, machines};
  return square(3) + shared(5);
}
