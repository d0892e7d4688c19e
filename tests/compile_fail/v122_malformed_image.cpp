// error: virtine \[V122\]: the segments of an image are malformed
// Code that can be written is what no guest may have, and virtine-cc makes none.
// SPDX-License-Identifier: MIT
#include <array>

#include <virtine/virtine.hpp>

#ifdef VALID
constexpr bool is_writable = false;
#else
constexpr bool is_writable = true;
#endif

constexpr std::array code{virtine::segment{.address = 0x20000,
                                           .memory_size = 4096,
                                           .content = {},
                                           .writable = is_writable,
                                           .executable = true}};

struct handmade {
  static constexpr int format = virtine::image_format;
  static constexpr virtine::image_description description = [] {
    virtine::image_description made;
    made.segments = code;
    made.stack_size = 4096;
    return made;
  }();
};

virtine::pool<handmade> machines;
