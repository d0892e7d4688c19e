// A guest in the place of the decoder's that has been taken over, and tells its host what is not
// so.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

#include "../../shared.hpp"
#include "../lies.hpp"

namespace {

constexpr std::byte pixels[7] = {};

void give(std::uint32_t width, std::uint32_t height, std::size_t bytes) {
  virtine::guest::call<decoder::take_rows>(width, height, std::span(pixels).first(bytes));
}

// A picture has 2 pixels, or 6 bytes.
decoder::reply decode(std::span<const std::byte> file, std::uint64_t) {
  switch (static_cast<lie>(file[0])) {
    case lie::none:
      give(2, 1, 3);
      give(2, 1, 3);
      break;
    case lie::too_many_bytes:
      give(2, 1, 7);
      break;
    case lie::bytes_after_the_end:
      give(2, 1, 6);
      give(2, 1, 1);
      break;
    case lie::another_size:
      give(2, 1, 3);
      give(1, 2, 3);
      break;
    case lie::above_the_limit:
      give(3, 1, 6);
      break;
    case lie::no_width:
      give(0, 1, 0);
      break;
    case lie::too_few_bytes:
      give(2, 1, 5);
      break;
    case lie::no_bytes:
      break;
    case lie::odd_words:
      return {decoder::outcome::damaged, {'a', '\n', '\x1b', 'b', '\0', 'c'}};
  }
  return {};
}

}  // namespace

VIRTINE_EXPORT(decode);
