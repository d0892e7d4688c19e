// error: virtine \[V105\]: the arguments and the result are larger than the argument memory
// An image reserves memory for one frame; what is larger goes into a span.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <string_view>

#include <virtine/virtine.hpp>

using block = std::array<char, 8000>;

constexpr std::array code{virtine::segment{
    .address = 0x20000, .memory_size = 4096, .content = {}, .writable = false, .executable = true}};

struct small_image {
  static constexpr int format = virtine::image_format;
  static constexpr virtine::image_description description = [] {
    virtine::image_description small;
    small.segments = code;
    small.arguments_size = 4096;
    small.stack_size = 4096;
    return small;
  }();
  struct only_entry {
    using image = small_image;
    static constexpr const char* name = "digest";
    static constexpr std::uint64_t address = 0x20000;
#ifdef VALID
    static constexpr std::string_view signature =
        virtine::detail::signature<int(std::span<const char>)>;
#else
    static constexpr std::string_view signature = virtine::detail::signature<int(block)>;
#endif
  };
};

#ifdef VALID
virtine::virtine_fn<int(std::span<const char>), small_image> digest;
#else
virtine::virtine_fn<int(block), small_image> digest;
#endif
