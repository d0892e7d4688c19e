// Images: finding the function an address is in, and what counts as an image or an entry.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <string>

#include <guests/fib16.hpp>
#include <guests/math.hpp>
#include <guests/square.hpp>
#include <virtine/image.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::array symbols{
    symbol{.address = 0x20000, .size = 0x10, .name = "first"},
    symbol{.address = 0x20020, .size = 0, .name = "empty"},
    symbol{.address = 0x20100, .size = 0x20, .name = "third"},
    symbol{.address = 0x20200, .size = 1, .name = "last"},
};

std::string name_at(std::uint64_t address) {
  const symbol* found = find_symbol(symbols, address);
  return found == nullptr ? "" : found->name;
}

static_assert(guest_image<guests::square> && guest_image<guests::math>);
static_assert(!guest_image<int> && !guest_image<guests::math::fib>);
static_assert(guest_entry<guests::math::fib> && !guest_entry<guests::math> && !guest_entry<int>);
static_assert(single_entry_image<guests::square> && !single_entry_image<guests::math>);

struct of_another_format {
  static constexpr int format = image_format + 1;
  static constexpr image_description description{};
};
static_assert(!guest_image<of_another_format>);

static_assert(find_symbol({}, 0) == nullptr);
static_assert(find_symbol(symbols, 0x20100)->size == 0x20);

}  // namespace

TEST_CASE("an address is found in the function that holds it", "[image]") {
  CHECK(name_at(0x20000) == "first");
  CHECK(name_at(0x2000f) == "first");
  CHECK(name_at(0x20100) == "third");
  CHECK(name_at(0x2011f) == "third");
  CHECK(name_at(0x20200) == "last");
}

TEST_CASE("an address between functions is in none", "[image]") {
  CHECK(name_at(0).empty());
  CHECK(name_at(0x1ffff).empty());
  CHECK(name_at(0x20010).empty());
  CHECK(name_at(0x20120).empty());
  CHECK(name_at(0x20201).empty());
  CHECK(name_at(UINT64_MAX).empty());
}

TEST_CASE("nothing is in a function without a size", "[image]") {
  CHECK(name_at(0x20020).empty());
  CHECK(name_at(0x200ff).empty());
  // virtine-cc gives those that come without one theirs.
  for (const symbol& each : guests::fib16::description.symbols) CHECK(each.size != 0);
}

TEST_CASE("an address comes from the line before it, where there is one", "[image]") {
  constexpr std::array lines{source_line{.address = 0x20000, .file = "a.cpp", .line = 3},
                             source_line{.address = 0x20008, .file = "b.cpp", .line = 9},
                             source_line{.address = 0x20010},
                             source_line{.address = 0x20100, .file = "a.cpp", .line = 1}};
  CHECK(find_line(lines, 0x1ffff) == nullptr);
  CHECK(find_line(lines, 0x20000) == &lines[0]);
  CHECK(find_line(lines, 0x20007) == &lines[0]);
  CHECK(find_line(lines, 0x20008) == &lines[1]);
  CHECK(find_line(lines, 0x20010) == nullptr);
  CHECK(find_line(lines, 0x200ff) == nullptr);
  CHECK(find_line(lines, UINT64_MAX) == &lines[3]);
  CHECK(find_line({}, 0x20000) == nullptr);
  // Without -g there are none.
  CHECK(guests::math::description.lines.empty());
}

TEST_CASE("a generated image describes itself", "[image]") {
  const image_description& math = guests::math::description;
  CHECK(math.name == std::string("math"));
  REQUIRE(math.imports.size() == 1);
  CHECK(math.imports[0] == 1);
  for (std::size_t i = 1; i < math.symbols.size(); ++i) {
    CHECK(math.symbols[i - 1].address < math.symbols[i].address);
  }
  const symbol* found = find_symbol(math.symbols, guests::math::fib::address);
  REQUIRE(found != nullptr);
  CHECK(found->address == guests::math::fib::address);
}
