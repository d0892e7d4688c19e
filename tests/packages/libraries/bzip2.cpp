// SPDX-License-Identifier: MIT
#include <cstring>

#include <bzlib.h>

#include "library.hpp"

LIBRARY(bzip2) {
  static char text[1000], packed[2000], back[1000];
  unsigned size = sizeof packed, length = sizeof back;
  std::memset(text, 'x', sizeof text);
  EXPECT(BZ2_bzBuffToBuffCompress(packed, &size, text, sizeof text, 1, 0, 0) == BZ_OK && size < 60);
  EXPECT(BZ2_bzBuffToBuffDecompress(back, &length, packed, size, 0, 0) == BZ_OK);
  EXPECT(length == sizeof text && std::memcmp(text, back, sizeof text) == 0);
  packed[20] ^= 1;
  EXPECT(BZ2_bzBuffToBuffDecompress(back, &length, packed, size, 0, 0) != BZ_OK);
  return 0;
}
