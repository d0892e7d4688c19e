// A function that makes hypercalls, each with an argument and a result.
// SPDX-License-Identifier: MIT
#include "asking.hpp"

#include <virtine/guest.hpp>

static int count(int times) {
  int reached = 0;
  for (int i = 0; i < times; ++i) reached = virtine::guest::call<next>(reached);
  return reached;
}

VIRTINE_EXPORT(count);
