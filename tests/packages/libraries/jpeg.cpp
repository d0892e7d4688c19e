// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "library.hpp"

LIBRARY(jpeg) {
  jpeg_error_mgr errors;
  jpeg_compress_struct out;
  unsigned char* packed = nullptr;
  unsigned long size = 0;
  out.err = jpeg_std_error(&errors);
  jpeg_create_compress(&out);
  jpeg_mem_dest(&out, &packed, &size);
  out.image_width = out.image_height = 16, out.input_components = 1;
  out.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&out);
  jpeg_set_quality(&out, 100, TRUE);
  jpeg_start_compress(&out, TRUE);
  JSAMPLE row[16];
  JSAMPROW rows[] = {row};
  for (int y = 0; y != 16; ++y) {
    for (int x = 0; x != 16; ++x) row[x] = static_cast<JSAMPLE>(8 * x + 4 * y);
    jpeg_write_scanlines(&out, rows, 1);
  }
  jpeg_finish_compress(&out);
  jpeg_destroy_compress(&out);
  jpeg_decompress_struct in;
  in.err = &errors;
  jpeg_create_decompress(&in);
  jpeg_mem_src(&in, packed, size);
  EXPECT(jpeg_read_header(&in, TRUE) == JPEG_HEADER_OK && in.image_width == 16);
  jpeg_start_decompress(&in);
  for (int y = 0; y != 16; ++y) {
    jpeg_read_scanlines(&in, rows, 1);
    for (int x = 0; x != 16; ++x) EXPECT(std::abs(row[x] - (8 * x + 4 * y)) < 4);
  }
  jpeg_finish_decompress(&in);
  jpeg_destroy_decompress(&in);
  std::free(packed);
  return 0;
}
