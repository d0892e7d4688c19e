// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstring>

#include <lzma.h>

#include "library.hpp"

LIBRARY(xz) {
  static std::uint8_t text[1000], packed[2000], back[1000];
  size_t size = 0, from = 0, length = 0;
  std::uint64_t memory = UINT64_MAX;
  std::memset(text, 'x', sizeof text);
  EXPECT(lzma_crc64(reinterpret_cast<const std::uint8_t*>("123456789"), 9, 0) ==
         0x995dc9bbdf1939fa);
  EXPECT(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, nullptr, text, sizeof text, packed, &size,
                                 sizeof packed) == LZMA_OK);
  EXPECT(lzma_stream_buffer_decode(&memory, 0, nullptr, packed, &from, size, back, &length,
                                   sizeof back) == LZMA_OK);
  EXPECT(length == sizeof text && std::memcmp(text, back, sizeof text) == 0);
  return 0;
}
