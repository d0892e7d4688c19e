// SPDX-License-Identifier: MIT
#include <cstring>

#include <zlib.h>

#include "library.hpp"

LIBRARY(zlib) {
  unsigned char text[1000], packed[2000], back[1000];
  uLongf size = sizeof packed, length = sizeof back;
  std::memset(text, 'x', sizeof text);
  EXPECT(crc32(0, text, sizeof text) == 0x3b41c9e6);
  EXPECT(compress(packed, &size, text, sizeof text) == Z_OK && size < 50);
  EXPECT(uncompress(back, &length, packed, size) == Z_OK && length == sizeof text);
  EXPECT(std::memcmp(text, back, sizeof text) == 0);
  packed[size / 2] ^= 1;
  EXPECT(uncompress(back, &length, packed, size) != Z_OK);
  return 0;
}
