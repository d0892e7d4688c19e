// Pictures from anyone: PNG and JPEG files become pixels, by the distribution's libpng and
// libjpeg-turbo, each in a virtual machine that no other file has been in.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace decoder {

/// Pixels row by row, from the top: red, green and blue, a byte each.
struct picture {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<std::byte> pixels;
};

/// Why there is no picture.
struct refusal {
  enum class kind : std::uint8_t {
    damaged,     ///< The library says that the file is damaged, or no picture that it knows.
    too_large,   ///< It is more than the limits allow.
    stopped,     ///< The library crashed, or did not end: it was a hostile file, or a bug.
    no_machine,  ///< This host cannot run virtines.
  };
  kind what = kind::damaged;
  std::string text;
};

struct limits {
  std::uint64_t max_pixels = 50'000'000;
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
};

/// Decodes a PNG or JPEG file of up to 32 MiB. Throws std::bad_alloc, and nothing else. Any number
/// of threads may call.
///
/// Example: `auto done = decoder::decode(bytes); if (auto* it = std::get_if<picture>(&done)) ...`
std::variant<picture, refusal> decode(std::span<const std::byte> file, const limits& within = {});

}  // namespace decoder
