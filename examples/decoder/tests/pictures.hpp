// Pictures to be decoded: smooth with some noise, as photographs are, in all kinds of files.
// Shared by the tests and the benchmark.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include <jpeglib.h>
#include <png.h>

#include "codec.hpp"

namespace pictures {

/// A sink that keeps all.
class collector final : public decoder::sink {
 public:
  bool begin(std::uint32_t wide, std::uint32_t high) override {
    width = wide;
    height = high;
    pixels.reserve(std::size_t{wide} * high * 3);
    return true;
  }
  void rows(std::span<const std::byte> more) override {
    pixels.insert(pixels.end(), more.begin(), more.end());
  }

  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<std::byte> pixels;
};

struct png_options {
  bool is_gray = false;
  bool has_alpha = false;
  int bits = 8;
  bool is_interlaced = false;
  bool is_empty = false;  ///< All bytes are zero.
};

struct jpeg_options {
  bool is_gray = false;
  bool is_progressive = false;
};

/// A row of `count` bytes.
inline void paint(std::uint32_t y, std::span<std::uint8_t> row, unsigned channels) {
  static std::uint32_t noise = 1;
  for (std::size_t i = 0; i < row.size(); ++i) {
    noise = noise * 1664525 + 1013904223;
    const double x = static_cast<double>(i / channels);
    const double wave =
        120 + 60 * std::sin(x / 47) + 50 * std::cos(y / 31.0 + double(i % channels));
    row[i] = static_cast<std::uint8_t>(std::clamp(wave + (noise >> 29), 0.0, 255.0));
  }
}

/// Returns a PNG file.
inline std::vector<std::byte> png(std::uint32_t width, std::uint32_t height,
                                  const png_options& of) {
  std::vector<std::byte> out;
  png_structp file = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(file);
  png_set_write_fn(
      file, &out,
      [](png_structp to, png_bytep from, png_size_t size) {
        const auto bytes = std::as_bytes(std::span(from, size));
        auto& all = *static_cast<std::vector<std::byte>*>(png_get_io_ptr(to));
        all.insert(all.end(), bytes.begin(), bytes.end());
      },
      [](png_structp) {});
  const int colours = of.is_gray     ? PNG_COLOR_TYPE_GRAY
                      : of.has_alpha ? PNG_COLOR_TYPE_RGB_ALPHA
                                     : PNG_COLOR_TYPE_RGB;
  png_set_IHDR(file, info, width, height, of.bits, colours,
               of.is_interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_compression_level(file, 6);
  if (of.is_empty) png_set_filter(file, 0, PNG_FILTER_NONE);
  png_write_info(file, info);
  const int passes = of.is_interlaced ? png_set_interlace_handling(file) : 1;
  const unsigned channels = of.is_gray ? 1 : of.has_alpha ? 4 : 3;
  std::vector<std::uint8_t> row(std::size_t{width} * channels * static_cast<unsigned>(of.bits) / 8);
  for (int pass = 0; pass < passes; ++pass) {
    for (std::uint32_t y = 0; y < height; ++y) {
      if (!of.is_empty) paint(y, row, channels);
      png_write_row(file, row.data());
    }
  }
  png_write_end(file, nullptr);
  png_destroy_write_struct(&file, &info);
  return out;
}

/// Returns a JPEG file of quality 85.
inline std::vector<std::byte> jpeg(std::uint32_t width, std::uint32_t height,
                                   const jpeg_options& of) {
  jpeg_compress_struct file{};
  jpeg_error_mgr errors{};
  unsigned char* made = nullptr;
  unsigned long size = 0;
  file.err = jpeg_std_error(&errors);
  jpeg_create_compress(&file);
  jpeg_mem_dest(&file, &made, &size);
  file.image_width = width;
  file.image_height = height;
  file.input_components = of.is_gray ? 1 : 3;
  file.in_color_space = of.is_gray ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&file);
  jpeg_set_quality(&file, 85, TRUE);
  if (of.is_progressive) jpeg_simple_progression(&file);
  jpeg_start_compress(&file, TRUE);
  std::vector<std::uint8_t> row(std::size_t{width} * static_cast<unsigned>(file.input_components));
  for (std::uint32_t y = 0; y < height; ++y) {
    paint(y, row, static_cast<unsigned>(file.input_components));
    auto* line = row.data();
    jpeg_write_scanlines(&file, &line, 1);
  }
  jpeg_finish_compress(&file);
  jpeg_destroy_compress(&file);
  const auto bytes = std::as_bytes(std::span(made, size));
  std::vector<std::byte> out(bytes.begin(), bytes.end());
  std::free(made);
  return out;
}

}  // namespace pictures
