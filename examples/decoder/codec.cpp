// SPDX-License-Identifier: MIT
#include "codec.hpp"

#include <cstring>

decoder::outcome decoder::decode_into(std::span<const std::byte> file, sink& to, words& why) {
  why = {};
  const auto begins_with = [&](const char* magic, std::size_t size) {
    return file.size() >= size && std::memcmp(file.data(), magic, size) == 0;
  };
  if (begins_with("\x89PNG\r\n\x1a\n", 8)) return decode_png(file, to, why);
  if (begins_with("\xff\xd8\xff", 3)) return decode_jpeg(file, to, why);
  return outcome::unknown;
}
