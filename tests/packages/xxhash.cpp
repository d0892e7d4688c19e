// xxHash in a guest, against its published vectors and what the host makes of the same bytes.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <guests/xxhash.hpp>
#include <virtine/virtine.hpp>

#include "inputs.hpp"

using namespace virtine;

namespace {

using image = guests::xxhash;
using bytes_in = std::span<const std::uint8_t>;

struct functions {
  pool<image> machines;
  virtine_fn<std::uint32_t(bytes_in, std::uint32_t), image::hash32> hash32{machines};
  virtine_fn<std::uint64_t(bytes_in, std::uint64_t), image::hash64> hash64{machines};
  virtine_fn<std::uint64_t(bytes_in, std::uint64_t), image::hash3> hash3{machines};
  virtine_fn<std::array<std::uint64_t, 2>(bytes_in, std::uint64_t), image::hash128> hash128{
      machines};
};

constexpr std::uint32_t prime32 = 2654435761;
constexpr std::uint64_t prime64 = 11400714785074694797U;

// The bytes of which the vectors are the hashes.
std::vector<std::uint8_t> published_bytes(std::size_t size) {
  std::vector<std::uint8_t> out(size);
  std::uint64_t state = prime32;
  for (auto& byte : out) {
    byte = static_cast<std::uint8_t>(state >> 56);
    state *= prime64;
  }
  return out;
}

}  // namespace

TEST_CASE("xxHash's published vectors", "[xxhash]") {
  functions guest;
  const auto all = published_bytes(222);
  const auto first = [&](std::size_t size) { return bytes_in(all).first(size); };
  CHECK(guest.hash32(first(0), 0) == 0x02CC5D05);
  CHECK(guest.hash32(first(0), prime32) == 0x36B78AE7);
  CHECK(guest.hash32(first(1), 0) == 0xCF65B03E);
  CHECK(guest.hash32(first(1), prime32) == 0xB4545AA4);
  CHECK(guest.hash32(first(14), 0) == 0x1208E7E2);
  CHECK(guest.hash32(first(14), prime32) == 0x6AF1D1FE);
  CHECK(guest.hash32(first(222), 0) == 0x5BD11DBD);
  CHECK(guest.hash32(first(222), prime32) == 0x58803C5F);

  CHECK(guest.hash64(first(0), 0) == 0xEF46DB3751D8E999);
  CHECK(guest.hash64(first(0), prime32) == 0xAC75FDA2929B17EF);
  CHECK(guest.hash64(first(1), 0) == 0xE934A84ADB052768);
  CHECK(guest.hash64(first(1), prime32) == 0x5014607643A9B4C3);
  CHECK(guest.hash64(first(4), 0) == 0x9136A0DCA57457EE);
  CHECK(guest.hash64(first(14), 0) == 0x8282DCC4994E35C8);
  CHECK(guest.hash64(first(14), prime32) == 0xC3BD6BF63DEB6DF0);
  CHECK(guest.hash64(first(222), 0) == 0xB641AE8CB691C174);
  CHECK(guest.hash64(first(222), prime32) == 0x20CB8AB7AE10C14A);

  CHECK(guest.hash3(first(0), 0) == 0x2D06800538D394C2);
  CHECK(guest.hash128(first(0), 0) ==
        std::array<std::uint64_t, 2>{0x6001C324468D497F, 0x99AA06D3014798D8});
}

TEST_CASE("xxHash gives what it gives on the host", "[xxhash]") {
  functions guest;
  for (const auto& input : inputs::all()) {
    for (const std::uint64_t seed : {std::uint64_t{0}, prime64}) {
      CHECK(guest.hash3(input, seed) == XXH3_64bits_withSeed(input.data(), input.size(), seed));
      const XXH128_hash_t hash = XXH3_128bits_withSeed(input.data(), input.size(), seed);
      CHECK(guest.hash128(input, seed) == std::array<std::uint64_t, 2>{hash.low64, hash.high64});
    }
  }
}
