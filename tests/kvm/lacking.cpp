// What libraries name and no guest has: it fails as POSIX allows, or the call ends with its name.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>
#include <string_view>
#include <utility>

#include <guests/lacks.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;

TEST_CASE("what no guest has fails as POSIX allows", "[lacking]") {
  const virtine_fn<int(int), guests::lacks> lacks;
  for (int what = 0; what != 18; ++what) {
    INFO(what);
    CHECK(lacks(what) == 1);
  }
}

TEST_CASE("what no guest has and may not fail ends the call with its name", "[lacking]") {
  const virtine_fn<int(int), guests::lacks> lacks;
  constexpr std::pair<int, std::string_view> named[] = {
      {100, "pthread_cond_wait"}, {101, "raise"}, {102, "alarm"}, {103, "pause"}, {104, "sigwait"}};
  for (const auto& [what, name] : named) {
    const auto ended = lacks.try_call(what);
    REQUIRE_FALSE(ended.has_value());
    const error& why = ended.error();
    CHECK(why.fault.kind == fault_kind::unavailable_function);
    REQUIRE(why.fault.symbol != nullptr);
    CHECK(why.fault.symbol == name);
    CHECK(why.fault.offset == 0);
    CHECK(to_string(why) ==
          "guest_fault: the guest called " + std::string(name) + ", which guests do not have");
  }
  CHECK(lacks(0) == 1);
}
