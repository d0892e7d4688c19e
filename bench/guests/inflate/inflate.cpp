// zlib, as the distribution ships it, for the price of a library in a guest.
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <span>

#include <zlib.h>

#include <virtine/guest.hpp>

static std::uint64_t inflate_all(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
  uLongf size = to.size();
  return uncompress(to.data(), &size, from.data(), from.size()) == Z_OK ? size : 0;
}

static std::uint32_t checksum(std::span<const std::uint8_t> from) {
  return static_cast<std::uint32_t>(crc32(0, from.data(), static_cast<uInt>(from.size())));
}

VIRTINE_EXPORT(inflate_all);
VIRTINE_EXPORT(checksum);
