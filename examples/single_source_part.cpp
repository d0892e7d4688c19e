// A file of the guest's own, for single_source.cpp.
// SPDX-License-Identifier: MIT
#include "single_source_part.hpp"

int part(int x) {
  return x + 1000;
}
