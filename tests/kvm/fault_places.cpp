// Where a fault is said to have been: in a function, or in none.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstdint>
#include <string>

#include <guests/jumps.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

using jumps = guests::jumps;

// Returns the function that a fault is said to be in after a jump to `address`; empty if in none.
std::string place_of_jump(std::uint64_t address) {
  virtine_fn<void(std::uint64_t), jumps> jump;
  const auto outcome = jump.try_call(address);
  REQUIRE_FALSE(outcome.has_value());
  const fault& f = outcome.error().fault;
  INFO(to_string(outcome.error()));
  REQUIRE(outcome.error().code == errc::guest_fault);
  return f.symbol == nullptr ? "" : f.symbol;
}

}  // namespace

TEST_CASE("a fault outside the code is in no function", "[faults]") {
  const segment& code = jumps::description.segments[0];
  const std::uint64_t page = code.address + 4096;
  const std::uint64_t last = jumps::description.symbols.back().address;
  REQUIRE(jumps::description.symbols.back().name == std::string("last"));
  REQUIRE(code.memory_size == last + 2 - code.address);
  CHECK(place_of_jump(last) == "last");

  // Behind the code on its page are zeros: `add [rax], al`, whatever RAX is.
  for (std::uint64_t address : {last + 2, last + 3, page - 16}) {
    INFO(address);
    CHECK(place_of_jump(address).empty());
  }
  // The segments that are no code, the stack and what is above it, and what no guest has.
  for (const segment& each : jumps::description.segments.subspan(1)) {
    INFO(each.address);
    CHECK(place_of_jump(each.address).empty());
    CHECK(place_of_jump(each.address + each.memory_size - 1).empty());
    CHECK(place_of_jump(each.address + 4095).empty());
  }
  for (std::uint64_t address :
       {std::uint64_t{0}, std::uint64_t{0x1000}, std::uint64_t{0x10000}, std::uint64_t{0x13000},
        code.address - 1, std::uint64_t{0x4000000}, std::uint64_t{0x7fffffffffff}}) {
    INFO(address);
    CHECK(place_of_jump(address).empty());
  }
  // What is no address is refused where the jump is, by some processors.
  const std::string refused = place_of_jump(0x800000000000);
  CHECK((refused == "jump" || refused.empty()));
}
