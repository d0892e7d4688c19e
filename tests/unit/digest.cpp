// The digest that finds damage: what it tells apart, and that it stays as files have it.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>

#include <virtine/machine/digest.hpp>

using namespace virtine;
using namespace virtine::detail;
using namespace std::string_view_literals;

static_assert(digest{}.value() != digest{}.add(std::uint64_t{0}).value());

TEST_CASE("each bit of an input counts", "[digest]") {
  std::array<std::byte, 100> bytes{};
  std::set<std::uint64_t> seen{digest{}.add(std::span<const std::byte>(bytes)).value()};
  for (std::byte& each : bytes) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      each ^= std::byte{1} << bit;
      seen.insert(digest{}.add(std::span<const std::byte>(bytes)).value());
      each ^= std::byte{1} << bit;
    }
  }
  CHECK(seen.size() == 1 + bytes.size() * 8);
}

TEST_CASE("order, lengths and boundaries count", "[digest]") {
  CHECK(digest{}.add(""sv).value() != digest{}.value());
  CHECK(digest{}.add("a"sv).value() != digest{}.add("a\0"sv).value());
  CHECK(digest{}.add("ab"sv).add("c"sv).value() != digest{}.add("a"sv).add("bc"sv).value());
  CHECK(digest{}.add("ab"sv).value() != digest{}.add("ba"sv).value());
  const std::uint64_t one = 1;
  const std::uint64_t two = 2;
  CHECK(digest{}.add(one).add(two).value() != digest{}.add(two).add(one).value());
}

TEST_CASE("a digest is the same in every build", "[digest]") {
  CHECK(digest{}.value() == 0x243f6a8885a308d3);
  CHECK(digest{}.add("virtine"sv).value() == 0xaa9a84c9c1b2674c);
}
