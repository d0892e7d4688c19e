// What the tests have zlib do, alike for the guest and, to compare with, for the host.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <zlib.h>

namespace zlib_calls {

using bytes = std::span<const std::uint8_t>;
using output = std::span<std::uint8_t>;

/// The code that zlib gave, and how many bytes it wrote.
struct outcome {
  std::int32_t code = 0;
  std::uint32_t size = 0;
  bool operator==(const outcome&) const = default;
};

inline outcome deflate_all(bytes from, output to, std::int32_t level) {
  uLongf size = to.size();
  const int code = compress2(to.data(), &size, from.data(), from.size(), level);
  return {code, code == Z_OK ? static_cast<std::uint32_t>(size) : 0};
}

inline outcome inflate_all(bytes from, output to) {
  uLongf size = to.size();
  const int code = uncompress(to.data(), &size, from.data(), from.size());
  return {code, static_cast<std::uint32_t>(size)};
}

/// Inflates a stream without a header, in pieces of `step` bytes.
inline outcome inflate_raw(bytes from, output to, std::uint32_t step) {
  z_stream stream{};
  int code = inflateInit2(&stream, -8);
  stream.next_out = to.data();
  stream.avail_out = static_cast<uInt>(to.size());
  while (code == Z_OK && !from.empty()) {
    const std::size_t piece = from.size() < step ? from.size() : step;
    stream.next_in = const_cast<Bytef*>(from.data());
    stream.avail_in = static_cast<uInt>(piece);
    code = inflate(&stream, Z_NO_FLUSH);
    from = from.subspan(piece);
  }
  const auto size = static_cast<std::uint32_t>(stream.total_out);
  inflateEnd(&stream);
  return {code, size};
}

inline std::uint32_t checksum(bytes from) {
  return static_cast<std::uint32_t>(crc32(0, from.data(), static_cast<uInt>(from.size())));
}

inline std::uint32_t other_checksum(bytes from) {
  return static_cast<std::uint32_t>(adler32(1, from.data(), static_cast<uInt>(from.size())));
}

}  // namespace zlib_calls
