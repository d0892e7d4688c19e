// Calls a library that names what no guest has.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

extern "C" int lacking(int what);

int lacks(int what) {
  return lacking(what);
}

VIRTINE_EXPORT(lacks);
