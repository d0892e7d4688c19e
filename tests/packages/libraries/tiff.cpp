// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstring>
#include <sstream>

#include <tiffio.h>
#include <tiffio.hxx>

#include "library.hpp"

LIBRARY(tiff) {
  std::uint8_t rows[8][32], row[32];
  std::ostringstream out;
  TIFF* image = TIFFStreamOpen("out", &out);
  EXPECT(image != nullptr);
  TIFFSetField(image, TIFFTAG_IMAGEWIDTH, 32);
  TIFFSetField(image, TIFFTAG_IMAGELENGTH, 8);
  TIFFSetField(image, TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(image, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  TIFFSetField(image, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
  for (unsigned y = 0; y != 8; ++y) {
    for (unsigned x = 0; x != 32; ++x) rows[y][x] = static_cast<std::uint8_t>(x * y);
    std::memcpy(row, rows[y], sizeof row);
    EXPECT(TIFFWriteScanline(image, row, y) == 1);
  }
  TIFFClose(image);
  std::istringstream in(out.str());
  image = TIFFStreamOpen("in", &in);
  EXPECT(image != nullptr);
  for (unsigned y = 0; y != 8; ++y) {
    EXPECT(TIFFReadScanline(image, row, y) == 1 && std::memcmp(row, rows[y], sizeof row) == 0);
  }
  TIFFClose(image);
  return 0;
}
