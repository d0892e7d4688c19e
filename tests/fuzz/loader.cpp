// Fuzzes the loader of image files: a file is refused, or what was read of it is sound.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <virtine/loaded_image.hpp>

#include "../sound_image.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr virtine::load_options options{.max_memory = std::uint64_t{4} << 20};
  const auto loaded = virtine::load_image(std::as_bytes(std::span(data, size)), options);
  if (!loaded) {
    if (loaded.error().code != virtine::errc::image_refused) std::abort();
    return 0;
  }
  if (!is_sound(*loaded, options)) std::abort();
  for (const virtine::exported_function& each : loaded->exports()) {
    static_cast<void>(loaded->function<int(int)>(each.name));
  }
  return 0;
}
