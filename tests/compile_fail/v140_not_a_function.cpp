// error: virtine \[V140\]: VIRTINE_AS takes the address of one function
// A member that needs an object is no function to run in a virtual machine.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#include "image_of_this_file.hpp"

IMAGE_WITH(tripled, void())
IMAGE_IS_OF(__FILE__)

struct number {
  void triple() { value *= 3; }
  static void nothing() {}
  int value;
};

#ifdef VALID
VIRTINE_AS(tripled, &number::nothing);
#else
VIRTINE_AS(tripled, &number::triple);
#endif
