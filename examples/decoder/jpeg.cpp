// JPEG, by libjpeg-turbo. What it only warns of, such as a truncated file, counts as damage.
// SPDX-License-Identifier: MIT
#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "codec.hpp"

namespace decoder {

namespace {

static_assert(words{}.size() >= JMSG_LENGTH_MAX);

struct failing {
  jpeg_error_mgr manager;  // First: the library knows only this.
  std::jmp_buf back;
  words* why;
};

void fail(j_common_ptr of) {
  auto* const state = reinterpret_cast<failing*>(of->err);
  of->err->format_message(of, state->why->data());
  std::longjmp(state->back, 1);
}

void warn(j_common_ptr of, int level) {
  if (level < 0) fail(of);
}

void print_nothing(j_common_ptr) {}

}  // namespace

outcome decode_jpeg(std::span<const std::byte> file, sink& to, words& why) {
  jpeg_decompress_struct jpeg{};
  failing state{};
  // Volatile, as they are set after setjmp.
  std::byte* volatile pixels = nullptr;
  volatile auto came_to = outcome::damaged;
  jpeg.err = jpeg_std_error(&state.manager);
  state.manager.error_exit = fail;
  state.manager.emit_message = warn;
  state.manager.output_message = print_nothing;
  state.why = &why;
  if (setjmp(state.back) == 0) {
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(file.data()), file.size());
    jpeg_read_header(&jpeg, TRUE);
    jpeg.out_color_space = JCS_RGB;
    jpeg_calc_output_dimensions(&jpeg);
    const std::uint32_t height = jpeg.output_height;
    const std::size_t row = std::size_t{jpeg.output_width} * 3;
    if (!to.begin(jpeg.output_width, height)) {
      came_to = outcome::unwanted;
    } else {
      const std::size_t at_once = piece_size / row > 0 ? piece_size / row : 1;
      pixels = static_cast<std::byte*>(std::malloc(at_once * row));
      jpeg_start_decompress(&jpeg);
      while (pixels != nullptr && jpeg.output_scanline < height) {
        std::size_t count = 0;
        while (count < at_once && jpeg.output_scanline < height) {
          auto* line = reinterpret_cast<JSAMPROW>(pixels + count * row);
          count += jpeg_read_scanlines(&jpeg, &line, 1);
        }
        to.rows({pixels, count * row});
      }
      came_to = pixels == nullptr ? outcome::no_memory : outcome::decoded;
      if (pixels != nullptr) jpeg_finish_decompress(&jpeg);
    }
  }
  std::free(pixels);
  jpeg_destroy_decompress(&jpeg);
  return came_to;
}

}  // namespace decoder
