// SPDX-License-Identifier: MIT
#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_OUTLINE_H

#include "library.hpp"

LIBRARY(freetype) {
  FT_Library library = nullptr;
  EXPECT(FT_Init_FreeType(&library) == 0);
  // A square of 8 by 8 pixels, in a bitmap of 16 by 16.
  FT_Vector points[] = {{64, 64}, {64, 576}, {576, 576}, {576, 64}};
  char tags[] = {1, 1, 1, 1};
  short ends[] = {3};
  FT_Outline square{1, 4, points, tags, ends, 0};
  static unsigned char pixels[16 * 16];
  FT_Bitmap bitmap{};
  bitmap.rows = bitmap.width = 16, bitmap.pitch = 16, bitmap.buffer = pixels;
  bitmap.pixel_mode = FT_PIXEL_MODE_GRAY, bitmap.num_grays = 256;
  EXPECT(FT_Outline_Get_Bitmap(library, &square, &bitmap) == 0);
  int set = 0;
  for (const unsigned char pixel : pixels) set += pixel == 255;
  EXPECT(set == 64);
  FT_Face face = nullptr;
  EXPECT(FT_New_Memory_Face(library, pixels, sizeof pixels, 0, &face) ==
         FT_Err_Unknown_File_Format);
  FT_Done_FreeType(library);
  return 0;
}
