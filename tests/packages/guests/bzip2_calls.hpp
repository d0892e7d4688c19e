// What the tests have bzip2 do, alike for the guest and, to compare with, for the host.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>

#include <bzlib.h>

namespace bzip2_calls {

using bytes = std::span<const std::uint8_t>;
using output = std::span<std::uint8_t>;

/// The code that bzip2 gave, and how many bytes it wrote.
struct outcome {
  std::int32_t code = 0;
  std::uint32_t size = 0;
  bool operator==(const outcome&) const = default;
};

// Sound: char may alias, and bzip2 only reads what it takes by this pointer to non-const. It
// refuses null, even for no bytes.
inline char* source(bytes from) {
  static char none;
  return from.empty() ? &none : const_cast<char*>(reinterpret_cast<const char*>(from.data()));
}

inline outcome compress(bytes from, output to, std::int32_t blocks) {
  auto size = static_cast<unsigned>(to.size());
  const int code = BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(to.data()), &size, source(from),
                                            static_cast<unsigned>(from.size()), blocks, 0, 0);
  return {code, code == BZ_OK ? size : 0};
}

/// `small` is slower and takes less memory.
inline outcome decompress(bytes from, output to, bool small) {
  auto size = static_cast<unsigned>(to.size());
  const int code =
      BZ2_bzBuffToBuffDecompress(reinterpret_cast<char*>(to.data()), &size, source(from),
                                 static_cast<unsigned>(from.size()), small ? 1 : 0, 0);
  return {code, code == BZ_OK ? size : 0};
}

}  // namespace bzip2_calls
