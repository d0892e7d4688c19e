// xxHash, of which the distribution's header is enough.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <span>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <virtine/guest.hpp>

using bytes = std::span<const std::uint8_t>;

static std::uint32_t hash32(bytes from, std::uint32_t seed) {
  return XXH32(from.data(), from.size(), seed);
}
static std::uint64_t hash64(bytes from, std::uint64_t seed) {
  return XXH64(from.data(), from.size(), seed);
}
static std::uint64_t hash3(bytes from, std::uint64_t seed) {
  return XXH3_64bits_withSeed(from.data(), from.size(), seed);
}
static std::array<std::uint64_t, 2> hash128(bytes from, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(from.data(), from.size(), seed);
  return {hash.low64, hash.high64};
}

VIRTINE_EXPORT(hash32);
VIRTINE_EXPORT(hash64);
VIRTINE_EXPORT(hash3);
VIRTINE_EXPORT(hash128);
