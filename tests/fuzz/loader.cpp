// Fuzzes the loader of image files: a file is refused, or what was read of it is sound.
// SPDX-License-Identifier: MIT
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <virtine/loaded_image.hpp>
#include <virtine/os/fd.hpp>

#include "../sound_image.hpp"
#include "input.hpp"

namespace {

constexpr virtine::load_options options{.max_memory = std::uint64_t{4} << 20,
                                        .max_stack = 1 << 20,
                                        .max_arguments = 2 << 20,
                                        .max_symbols = 10'000};

/// A file is read as the same bytes in memory are.
void load_file(std::span<const std::byte> bytes,
               const virtine::result<virtine::loaded_image>& same) {
  static const virtine::os::fd file(::memfd_create("image", MFD_CLOEXEC));
  require(::ftruncate(file.get(), 0) == 0);
  require(::pwrite(file.get(), bytes.data(), bytes.size(), 0) ==
          static_cast<ssize_t>(bytes.size()));
  const auto loaded = virtine::load_image("/proc/self/fd/" + std::to_string(file.get()), options);
  require(loaded.has_value() == same.has_value());
  if (!loaded) return require(loaded.error().code == same.error().code);
  const auto name = &virtine::exported_function::name;
  require(std::ranges::equal(loaded->exports(), same->exports(), {}, name, name));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto loaded = virtine::load_image(bytes, options);
  // Not always, because that takes much longer.
  if (size % 16 == 0) load_file(bytes, loaded);
  if (!loaded) {
    require(loaded.error().code == virtine::errc::image_refused);
    return 0;
  }
  require(is_sound(*loaded, options));
  for (const virtine::exported_function& each : loaded->exports()) {
    static_cast<void>(loaded->function<int(int)>(each.name));
  }
  return 0;
}
