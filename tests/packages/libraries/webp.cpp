// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstring>

#include <webp/decode.h>
#include <webp/encode.h>

#include "library.hpp"

LIBRARY(webp) {
  static std::uint8_t pixels[16 * 16 * 4];
  for (unsigned i = 0; i != sizeof pixels; ++i) {
    pixels[i] = static_cast<std::uint8_t>(i % 4 == 3 ? 255 : i * i >> 4);
  }
  std::uint8_t* packed = nullptr;
  const size_t size = WebPEncodeLosslessRGBA(pixels, 16, 16, 64, &packed);
  EXPECT(size > 0);
  int width = 0, height = 0;
  std::uint8_t* const back = WebPDecodeRGBA(packed, size, &width, &height);
  EXPECT(back != nullptr && width == 16 && height == 16);
  EXPECT(std::memcmp(pixels, back, sizeof pixels) == 0);
  EXPECT(WebPDecodeRGBA(packed, size / 2, &width, &height) == nullptr);
  WebPFree(packed);
  WebPFree(back);
  return 0;
}
