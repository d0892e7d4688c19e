// A PNG image is written and read back.
// SPDX-License-Identifier: MIT
#include <cstring>

#include <png.h>

#include "library.hpp"

LIBRARY(png) {
  static png_byte packed[8000];
  png_byte pixels[32 * 32 * 3] = {1, 2, 3}, back[sizeof pixels];
  png_alloc_size_t size = sizeof packed;
  png_image image{nullptr, PNG_IMAGE_VERSION, 32, 32, PNG_FORMAT_RGB, 0, 0, 0, {}};
  EXPECT(png_image_write_to_memory(&image, packed, &size, 0, pixels, 0, nullptr));
  EXPECT(png_image_begin_read_from_memory(&image, packed, size) && image.width == 32);
  EXPECT(png_image_finish_read(&image, nullptr, back, 0, nullptr));
  EXPECT(std::memcmp(pixels, back, sizeof pixels) == 0);
  return 0;
}
