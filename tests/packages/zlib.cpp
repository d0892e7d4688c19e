// zlib in a guest: byte for byte what the host's does, damaged streams included.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include <guests/zlib.hpp>
#include <virtine/virtine.hpp>

#include "guests/zlib_calls.hpp"
#include "inputs.hpp"

using namespace virtine;
using zlib_calls::outcome;

namespace {

using image = guests::zlib;
using bytes_in = std::span<const std::uint8_t>;
using bytes_out = std::span<std::uint8_t>;

struct functions {
  pool<image> machines;
  virtine_fn<outcome(bytes_in, bytes_out, std::int32_t), image::deflate_all> deflate{machines};
  virtine_fn<outcome(bytes_in, bytes_out), image::inflate_all> inflate{machines};
  virtine_fn<outcome(bytes_in, bytes_out, std::uint32_t), image::inflate_raw> inflate_raw{machines};
  virtine_fn<std::uint32_t(bytes_in), image::checksum> checksum{machines};
  virtine_fn<std::uint32_t(bytes_in), image::other_checksum> other_checksum{machines};
};

}  // namespace

TEST_CASE("zlib's checksums", "[zlib]") {
  functions guest;
  const auto digits = inputs::of("123456789");
  CHECK(guest.checksum(digits) == 0xcbf43926);
  CHECK(guest.other_checksum(inputs::of("Wikipedia")) == 0x11e60398);
  for (const auto& input : inputs::all()) {
    CHECK(guest.checksum(input) == zlib_calls::checksum(input));
    CHECK(guest.other_checksum(input) == zlib_calls::other_checksum(input));
  }
}

TEST_CASE("zlib compresses as the host's does, and what it made comes back", "[zlib]") {
  functions guest;
  for (const auto& input : inputs::all()) {
    for (const std::int32_t level : {-1, 0, 1, 9}) {
      std::vector<std::uint8_t> here(input.size() + 1000);
      std::vector<std::uint8_t> there(here.size());
      const outcome expected = zlib_calls::deflate_all(input, here, level);
      REQUIRE(expected.code == Z_OK);
      REQUIRE(guest.deflate(input, there, level) == expected);
      CHECK(here == there);

      std::vector<std::uint8_t> back(input.size());
      const outcome done = guest.inflate(std::span(there).first(expected.size), back);
      CHECK(done == outcome{Z_OK, static_cast<std::uint32_t>(input.size())});
      CHECK(back == input);
    }
  }
}

TEST_CASE("zlib refuses what it cannot do", "[zlib]") {
  functions guest;
  const auto input = inputs::text(10'000);
  std::vector<std::uint8_t> made(10'000);
  CHECK(guest.deflate(input, std::span(made).first(10), 6).code == Z_BUF_ERROR);
  CHECK(guest.deflate(input, made, 77).code == Z_STREAM_ERROR);
  made.resize(guest.deflate(input, made, 6).size);
  std::vector<std::uint8_t> back(input.size());
  CHECK(guest.inflate(made, std::span(back).first(9'999)).code == Z_BUF_ERROR);
  CHECK(guest.inflate(std::span(made).first(made.size() - 1), back).code != Z_OK);
}

TEST_CASE("damaged streams end in the code that the host's zlib gives", "[zlib]") {
  functions guest;
  const auto input = inputs::text(3'000);
  std::vector<std::uint8_t> made(4'000);
  made.resize(guest.deflate(input, made, 9).size);
  std::vector<std::uint8_t> here(input.size());
  std::vector<std::uint8_t> there(input.size());
  for (std::size_t i = 0; i < made.size(); i += 1 + i / 16) {
    auto damaged = made;
    damaged[i] ^= static_cast<std::uint8_t>(1U << i % 8);
    const auto done = guest.inflate.try_call(damaged, there);
    REQUIRE(done.has_value());
    CHECK(*done == zlib_calls::inflate_all(damaged, here));
    CHECK(here == there);
  }
  CHECK(guest.inflate(inputs::noise(5'000), there).code == Z_DATA_ERROR);
}

TEST_CASE("zlib's own vectors of bad streams", "[zlib]") {
  functions guest;
  const struct {
    std::vector<std::uint8_t> stream;
    int code;
  } vectors[] = {
      {{0, 0, 0, 0, 0}, Z_DATA_ERROR},                 // invalid stored block lengths
      {{3, 0}, Z_STREAM_END},                          // fixed
      {{6}, Z_DATA_ERROR},                             // invalid block type
      {{1, 1, 0, 0xfe, 0xff, 0}, Z_STREAM_END},        // stored
      {{0xfc, 0, 0}, Z_DATA_ERROR},                    // too many length or distance symbols
      {{4, 0, 0xfe, 0xff}, Z_DATA_ERROR},              // invalid code lengths set
      {{4, 0, 0x24, 0x49, 0}, Z_DATA_ERROR},           // invalid bit length repeat
      {{4, 0, 0x24, 0xe9, 0xff, 0xff}, Z_DATA_ERROR},  // invalid bit length repeat
      {{4, 0, 0x24, 0xe9, 0xff, 0x6d}, Z_DATA_ERROR},  // missing end-of-block
      {{4, 0x80, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24, 0x71, 0xff, 0xff, 0x93, 0x11, 0},
       Z_DATA_ERROR},  // invalid literal/lengths set
      {{4, 0x80, 0x49, 0x92, 0x24, 0x49, 0x92, 0x24, 0xf, 0xb4, 0xff, 0xff, 0xc3, 0x84},
       Z_DATA_ERROR},  // invalid distances set
      {{4, 0xc0, 0x81, 8, 0, 0, 0, 0, 0x20, 0x7f, 0xeb, 0xb, 0, 0},
       Z_DATA_ERROR},                         // invalid literal/length code
      {{2, 0x7e, 0xff, 0xff}, Z_DATA_ERROR},  // invalid distance code
      {{0xc, 0xc0, 0x81, 0, 0, 0, 0, 0, 0x90, 0xff, 0x6b, 4, 0},
       Z_DATA_ERROR},  // invalid distance too far back
  };
  for (const auto& vector : vectors) {
    std::vector<std::uint8_t> here(300);
    std::vector<std::uint8_t> there(300);
    for (const std::uint32_t step : {1U, 100U}) {
      const outcome expected = zlib_calls::inflate_raw(vector.stream, here, step);
      CHECK(expected.code == vector.code);
      CHECK(guest.inflate_raw(vector.stream, there, step) == expected);
      CHECK(here == there);
    }
  }
}
