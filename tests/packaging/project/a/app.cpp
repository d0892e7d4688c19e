// Marks a function that has the name of the other app.cpp's, and another body.
// SPDX-License-Identifier: MIT
#include "../two.hpp"

#include <virtine/virtine.hpp>

#include "a/app.guest.hpp"
#include "body.hpp"

VIRTINE(multiple, (int n) -> int) {
  return body(n);
}

virtine::result<int> a(int n) {
  return multiple.try_call(n);
}
