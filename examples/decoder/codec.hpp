// Decoding pictures by libpng and libjpeg-turbo, row by row. The same code runs in the guest and,
// for comparison, natively. Knows nothing of virtines.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace decoder {

/// Takes what is decoded.
class sink {
 public:
  sink() = default;
  sink(const sink&) = delete;
  sink& operator=(const sink&) = delete;

  /// Is told the size, before any row; returns whether a picture of that size is wanted.
  virtual bool begin(std::uint32_t width, std::uint32_t height) = 0;
  /// Takes the next rows, whole ones: three bytes for each pixel, red first.
  virtual void rows(std::span<const std::byte> pixels) = 0;

 protected:
  ~sink() = default;
};

enum class outcome : std::uint32_t {
  decoded,    ///< All rows were given.
  damaged,    ///< The library says that the file is no picture, or a damaged one.
  unwanted,   ///< The sink did not want it.
  unknown,    ///< Neither PNG nor JPEG.
  no_memory,  ///< There was not enough memory.
};

/// What the library said, ended by a zero byte.
using words = std::array<char, 200>;

/// Decodes a PNG or JPEG file.
outcome decode_into(std::span<const std::byte> file, sink& to, words& why);
outcome decode_png(std::span<const std::byte> file, sink& to, words& why);
outcome decode_jpeg(std::span<const std::byte> file, sink& to, words& why);

/// Decoded rows are collected up to about so many bytes before they are given on.
inline constexpr std::size_t piece_size = 1536 << 10;

}  // namespace decoder
