// The checks that a distribution compiles into its libraries work in guests too, and say who failed
// one.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstdint>
#include <string_view>

#include <guests/checked.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;

namespace {

using image = guests::checked;

template <class T>
void check_found(const result<T>& outcome, std::string_view function) {
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().code == errc::guest_fault);
  CHECK(outcome.error().fault.kind == fault_kind::memory_corrupted);
  REQUIRE(outcome.error().fault.symbol != nullptr);
  CHECK(std::string_view(outcome.error().fault.symbol).find(function) != std::string_view::npos);
}

}  // namespace

TEST_CASE("checked functions do their work, and end the call before an overrun", "[checked]") {
  pool<image> machines;
  virtine_fn<bytes<16>(std::string_view), image::copy> copy{machines};
  CHECK(copy("sixteen letters.").text() == "sixteen letters.");
  check_found(copy.try_call("seventeen letters"), "copy");

  virtine_fn<bytes<16>(std::string_view), image::join> join{machines};
  CHECK(join("9abcdef").text() == "123456789abcdef");
  check_found(join.try_call("9abcdefg"), "join");

  virtine_fn<bytes<16>(int), image::print> print{machines};
  CHECK(print(-1234567).text() == "<-1234567>");
  virtine_fn<bytes<16>(int), image::print_wide> print_wide{machines};
  check_found(print_wide.try_call(1), "print_wide");
}

TEST_CASE("arc4random asks the host", "[checked]") {
  virtine_fn<std::uint32_t(std::uint32_t), image::draw> draw;
  CHECK(draw(1) == 0);
  const auto denied = draw.try_call(1000);
  REQUIRE_FALSE(denied.has_value());
  CHECK(denied.error().code == errc::system_call_denied);
}
