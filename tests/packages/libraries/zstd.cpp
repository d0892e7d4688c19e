// SPDX-License-Identifier: MIT
#include <cstring>

#include <zstd.h>

#include "library.hpp"

LIBRARY(zstd) {
  static char text[10000], packed[20000], back[10000];
  std::memset(text, 'x', sizeof text);
  const size_t size = ZSTD_compress(packed, sizeof packed, text, sizeof text, 3);
  EXPECT(!ZSTD_isError(size) && size < 50);
  EXPECT(ZSTD_decompress(back, sizeof back, packed, size) == sizeof text);
  EXPECT(std::memcmp(text, back, sizeof text) == 0);
  EXPECT(ZSTD_isError(ZSTD_decompress(back, sizeof back, packed, size - 1)));
  return 0;
}
