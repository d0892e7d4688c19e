// bzip2 in a guest: byte for byte what the host's does, damaged streams included. It takes
// megabytes of the guest's heap.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include <guests/bzip2.hpp>
#include <virtine/virtine.hpp>

#include "guests/bzip2_calls.hpp"
#include "inputs.hpp"

using namespace virtine;
using bzip2_calls::outcome;

namespace {

using image = guests::bzip2;
using bytes_in = std::span<const std::uint8_t>;
using bytes_out = std::span<std::uint8_t>;

struct functions {
  pool<image> machines;
  virtine_fn<outcome(bytes_in, bytes_out, std::int32_t), image::compress> compress{machines};
  virtine_fn<outcome(bytes_in, bytes_out, bool), image::decompress> decompress{machines};
};

}  // namespace

TEST_CASE("bzip2 compresses as the host's does, and what it made comes back", "[bzip2]") {
  functions guest;
  for (const auto& input : inputs::all()) {
    for (const std::int32_t blocks : {1, 2}) {
      std::vector<std::uint8_t> here(input.size() + input.size() / 50 + 1000);
      std::vector<std::uint8_t> there(here.size());
      const outcome expected = bzip2_calls::compress(input, here, blocks);
      REQUIRE(expected.code == BZ_OK);
      REQUIRE(guest.compress(input, there, blocks) == expected);
      CHECK(here == there);

      std::vector<std::uint8_t> back(input.size());
      const auto made = std::span(there).first(expected.size);
      const outcome done{BZ_OK, static_cast<std::uint32_t>(input.size())};
      CHECK(guest.decompress(made, back, blocks == 1) == done);
      CHECK(back == input);
    }
  }
}

TEST_CASE("bzip2's streams of nothing and of one letter", "[bzip2]") {
  functions guest;
  std::vector<std::uint8_t> out(100);
  out.resize(guest.compress(bytes_in{}, out, 1).size);
  CHECK(out == std::vector<std::uint8_t>{'B', 'Z', 'h', '1', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, 0,
                                         0, 0, 0});
  const std::vector<std::uint8_t> letter{0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59,
                                         0x19, 0x93, 0x9b, 0x6b, 0x00, 0x00, 0x00, 0x01, 0x00, 0x20,
                                         0x00, 0x20, 0x00, 0x21, 0x18, 0x46, 0x82, 0xee, 0x48, 0xa7,
                                         0x0a, 0x12, 0x03, 0x32, 0x73, 0x6d, 0x60};
  out.resize(10);
  CHECK(guest.decompress(letter, out, true) == outcome{BZ_OK, 1});
  CHECK(out[0] == 'a');
}

TEST_CASE("damaged streams end in the code that the host's bzip2 gives", "[bzip2]") {
  functions guest;
  const auto input = inputs::text(2'000);
  std::vector<std::uint8_t> made(3'000);
  made.resize(guest.compress(input, made, 1).size);
  std::vector<std::uint8_t> here(input.size());
  std::vector<std::uint8_t> there(input.size());
  for (std::size_t i = 0; i < made.size(); i += 1 + i / 8) {
    auto damaged = made;
    damaged[i] ^= static_cast<std::uint8_t>(1U << i % 8);
    const auto done = guest.decompress.try_call(damaged, there, true);
    REQUIRE(done.has_value());
    CHECK(*done == bzip2_calls::decompress(damaged, here, true));
  }
}
