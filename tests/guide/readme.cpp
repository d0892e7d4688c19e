// What README.md says of hosts, in its own words. guide-agrees compares them.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <chrono>
#include <iostream>
#include <span>
#include <stop_token>
#include <string_view>

#include <guests/math.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

using namespace std::chrono_literals;

TEST_CASE("a guest of its own file", "[readme]") {
  // clang-format off
  virtine::virtine_fn<int(int), guests::square> square;   // the host
  int nine = square(3);
  // clang-format on
  CHECK(nine == 9);
}

TEST_CASE("what a call can do", "[readme]") {
  const std::stop_source source;
  const std::stop_token token = source.get_token();
  const std::array values{1, 2, 3};

  // clang-format off
  struct log_line : virtine::hypercall<1, void(std::string_view)> {};        // shared by host and guest

  auto policy = virtine::policy{virtine::allow<log_line>([](virtine::tainted<std::string_view> text) {
    std::cout << text.verify(virtine::at_most<256>).value_or("(too long)") << '\n';  // distrust it first
  })};

  virtine::pool<guests::math> pool{{.max = 16}};
  virtine::virtine_fn<long(std::span<const int>), guests::math::sum, decltype(policy)> sum{pool, policy};

  long total = sum(values);                                                    // spans are copied in
  auto r = sum.with({.timeout = 50ms, .stop = token}).try_call(values);        // errc::timed_out, errc::cancelled
  // clang-format on

  CHECK(total == 6);
  // On a machine that is busy with other things the time may well be over.
  CHECK((r ? *r == 6 : r.error().code == virtine::errc::timed_out));
}
