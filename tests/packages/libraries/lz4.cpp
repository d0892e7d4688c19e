// SPDX-License-Identifier: MIT
#include <cstring>

#include <lz4.h>

#include "library.hpp"

LIBRARY(lz4) {
  char text[1000], packed[2000], back[1000];
  std::memset(text, 'x', sizeof text);
  const int size = LZ4_compress_default(text, packed, sizeof text, sizeof packed);
  EXPECT(size > 0 && size < 50);
  EXPECT(LZ4_decompress_safe(packed, back, size, sizeof back) == sizeof text);
  EXPECT(std::memcmp(text, back, sizeof text) == 0);
  EXPECT(LZ4_decompress_safe(packed, back, size, 999) < 0);
  return 0;
}
