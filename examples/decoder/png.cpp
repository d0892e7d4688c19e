// PNG, by libpng: any kind becomes 8 bits of red, green and blue.
// SPDX-License-Identifier: MIT
#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include <png.h>

#include "codec.hpp"

namespace decoder {

namespace {

struct reading {
  std::span<const std::byte> rest;
  words* why;
};

void take(png_structp png, png_bytep to, png_size_t size) {
  auto& from = *static_cast<reading*>(png_get_io_ptr(png));
  if (size > from.rest.size()) png_error(png, "the file is truncated");
  std::memcpy(to, from.rest.data(), size);
  from.rest = from.rest.subspan(size);
}

void fail(png_structp png, png_const_charp text) {
  auto& from = *static_cast<reading*>(png_get_error_ptr(png));
  std::strncpy(from.why->data(), text, from.why->size() - 1);
  png_longjmp(png, 1);
}

void ignore(png_structp, png_const_charp) {}

// Gives rows as they come.
void give_rows(png_structp png, sink& to, std::byte* piece, std::size_t row, std::uint32_t height) {
  const std::size_t at_once = piece_size / row > 0 ? piece_size / row : 1;
  for (std::size_t done = 0; done < height;) {
    std::size_t count = 0;
    for (; count < at_once && done < height; ++count, ++done) {
      png_read_row(png, reinterpret_cast<png_bytep>(piece + count * row), nullptr);
    }
    to.rows({piece, count * row});
  }
}

// Each of seven passes changes rows all over the picture, so all of it is kept.
void give_interlaced(png_structp png, sink& to, std::byte* all, std::size_t row,
                     std::uint32_t height, int passes) {
  for (; passes > 0; --passes) {
    for (std::size_t i = 0; i < height; ++i) {
      png_read_row(png, reinterpret_cast<png_bytep>(all + i * row), nullptr);
    }
  }
  to.rows({all, row * height});
}

}  // namespace

outcome decode_png(std::span<const std::byte> file, sink& to, words& why) {
  reading from{file, &why};
  // Volatile, as it is set after setjmp.
  std::byte* volatile pixels = nullptr;
  volatile auto came_to = outcome::damaged;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &from, fail, ignore);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return outcome::no_memory;
  }
  if (setjmp(png_jmpbuf(png)) == 0) {
    png_set_read_fn(png, &from, take);
    png_read_info(png, info);
    const std::uint32_t width = png_get_image_width(png, info);
    const std::uint32_t height = png_get_image_height(png, info);
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const std::size_t row = std::size_t{width} * 3;
    if (png_get_rowbytes(png, info) != row) png_error(png, "the rows are not RGB");
    if (!to.begin(width, height)) {
      came_to = outcome::unwanted;
    } else {
      const std::size_t room = passes > 1 ? row * height : row > piece_size ? row : piece_size;
      pixels = static_cast<std::byte*>(std::malloc(room));
      if (pixels == nullptr) {
        came_to = outcome::no_memory;
      } else {
        if (passes > 1) {
          give_interlaced(png, to, pixels, row, height, passes);
        } else {
          give_rows(png, to, pixels, row, height);
        }
        png_read_end(png, nullptr);
        came_to = outcome::decoded;
      }
    }
  }
  std::free(pixels);
  png_destroy_read_struct(&png, &info, nullptr);
  return came_to;
}

}  // namespace decoder
