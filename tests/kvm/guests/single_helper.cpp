// A file of the guest's own, linked into the image of single_source.cpp.
// SPDX-License-Identifier: MIT
#include "single_helper.hpp"

int helper_in_another_file(int x) {
  return x * 100 + 7;
}
