// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstring>

#include <brotli/decode.h>
#include <brotli/encode.h>

#include "library.hpp"

LIBRARY(brotli) {
  static std::uint8_t text[1000], packed[2000], back[1000];
  size_t size = sizeof packed, length = sizeof back;
  std::memset(text, 'x', sizeof text);
  EXPECT(BrotliEncoderCompress(5, 18, BROTLI_MODE_TEXT, sizeof text, text, &size, packed) != 0);
  EXPECT(size < 50);
  EXPECT(BrotliDecoderDecompress(size, packed, &length, back) == BROTLI_DECODER_RESULT_SUCCESS);
  EXPECT(length == sizeof text && std::memcmp(text, back, sizeof text) == 0);
  EXPECT(BrotliDecoderDecompress(size - 1, packed, &length, back) != BROTLI_DECODER_RESULT_SUCCESS);
  return 0;
}
