// What guests ask of their hosts: policies, handlers, answers and limits.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <guests/asks.hpp>
#include <guests/asks_types.hpp>
#include <virtine/virtine.hpp>

#include "host.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

using asks = guests::asks;

// A policy that allows all that the image makes: each test replaces what it is about.
const auto no_lines = [](tainted<std::string_view>) {};
const auto sums = [](tainted<std::int8_t> a, tainted<std::int64_t> b) -> std::int64_t {
  return a.unverified_because("every number can be added") +
         b.unverified_because("every number of the test can be added");
};
const auto no_fill = [](guest_buffer<std::uint32_t>) -> std::uint32_t { return 0; };
const auto no_measure = [](tainted<std::string_view>, tainted<std::span<const double>>) {
  return measured{};
};
const auto stop_knocking = [] { return false; };

template <class Lines, class Sums, class Fill, class Measure, class Knock>
auto policy_of(Lines lines, Sums adds, Fill fill, Measure measures, Knock knocks) {
  return policy{allow<write_line>(lines), allow<add_up>(adds), allow<fill_in>(fill),
                allow<measure>(measures), allow<knock>(knocks)};
}

template <class Knock>
auto knock_policy(Knock knocks) {
  return policy_of(no_lines, sums, no_fill, no_measure, knocks);
}
template <class Fill>
auto fill_policy(Fill fill) {
  return policy_of(no_lines, sums, fill, no_measure, stop_knocking);
}

template <class Sig, class Entry, class Policy>
auto granted(pool<asks>& machines, const Policy& allowed) {
  return virtine_fn<Sig, Entry, Policy>(machines, allowed);
}

}  // namespace

TEST_CASE("texts reach the handler in order", "[hypercalls]") {
  std::vector<std::string> lines;
  const auto allowed = policy_of(
      [&](tainted<std::string_view> line) {
        lines.emplace_back(line.verify(at_most<8>).value_or("too long"));
      },
      sums, no_fill, no_measure, stop_knocking);
  pool<asks> machines;
  auto greet = granted<void(std::string_view), asks::greet>(machines, allowed);
  greet("you there");
  greet("");
  CHECK(lines == std::vector<std::string>{"hello", "too long", "", "hello", "", ""});
}

TEST_CASE("a handler's answer is the call's result in the guest", "[hypercalls]") {
  pool<asks> machines;
  auto add = granted<std::int64_t(std::int8_t, std::int64_t), asks::add_by_host>(
      machines, knock_policy(stop_knocking));
  CHECK(add(-100, 7) == -93);
  CHECK(add(1, std::numeric_limits<std::int64_t>::max() - 1) ==
        std::numeric_limits<std::int64_t>::max());

  const auto measures = [](tainted<std::string_view> text,
                           tainted<std::span<const double>> values) {
    measured out{.length = text.verify([](std::string_view t) { return t.size(); })};
    for (const double value : values.unverified_because("numbers are only added up")) {
      out.total += value;
    }
    return out;
  };
  auto measured_by_host =
      granted<double(std::string_view, std::span<const double>), asks::measured_by_host>(
          machines, policy_of(no_lines, sums, no_fill, measures, stop_knocking));
  std::vector<double> values(3000, 0.5);
  CHECK(measured_by_host("four", values) == 1504);
  CHECK(measured_by_host("", {}) == 0);
  CHECK(measured_by_host("", std::span(values).first(1)) == 0.5);
}

TEST_CASE("a handler fills the guest's memory, which the next call does not see", "[hypercalls]") {
  std::vector<std::uint32_t> data(3000);
  for (std::uint32_t i = 0; i < data.size(); ++i) data[i] = i + 1;
  std::vector<std::size_t> sizes;
  const auto allowed = fill_policy([&](guest_buffer<std::uint32_t> to) {
    sizes.push_back(to.size());
    return static_cast<std::uint32_t>(to.fill(data));
  });
  pool<asks> machines({.max = 1});
  auto filled = granted<std::uint64_t(std::uint32_t), asks::filled_by_host>(machines, allowed);
  for (int round = 0; round < 3; ++round) {
    for (const std::uint64_t count : {3000u, 1u, 0u, 1500u}) {
      // Bit 62 would say that the buffer was not clean.
      REQUIRE(filled(static_cast<std::uint32_t>(count)) == (count << 32) + count * (count + 1) / 2);
      CHECK(sizes.back() == count);
    }
  }
  data.resize(2);
  CHECK(filled(3000) == (std::uint64_t{2} << 32) + 3);
  CHECK(machines.size() == 1);
}

TEST_CASE("a buffer is never larger than the guest's memory", "[hypercalls]") {
  std::size_t largest = 0;
  const auto allowed = fill_policy([&](guest_buffer<std::uint32_t> to) {
    largest = std::max(largest, to.size());
    return std::uint32_t{0};
  });
  pool<asks> machines;
  auto claims = granted<std::uint64_t(std::uint64_t), asks::claims>(machines, allowed);
  CHECK(claims(3000) == 0);
  CHECK(largest == 3000);
  for (const std::uint64_t claimed :
       {std::uint64_t{1} << 30, std::uint64_t{1} << 61, UINT64_MAX / 4, UINT64_MAX / 4 + 1}) {
    const auto refused = claims.try_call(claimed);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::hypercall_rejected);
  }
  CHECK(largest == 3000);
  CHECK(claims(5) == 0);
}

TEST_CASE("a handler may reject, which ends the call and its machine only", "[hypercalls]") {
  int served = 0;
  const auto allowed = policy_of(
      [&](tainted<std::string_view> line) -> answer<void> {
        ++served;
        if (line.verify([](std::string_view text) { return text == "bad"; })) return reject{};
        return {};
      },
      [](tainted<std::int8_t> a, tainted<std::int64_t> b) -> answer<std::int64_t> {
        const auto small = b.verify(between<-10, 10>);
        if (!small) return reject{};
        return a.verify([](std::int8_t n) { return n; }) + *small;
      },
      no_fill, no_measure, stop_knocking);
  pool<asks> machines;
  auto add = granted<std::int64_t(std::int8_t, std::int64_t), asks::add_by_host>(machines, allowed);
  CHECK(add(1, 10) == 11);
  CHECK(machines.size() == 1);
  const auto refused = add.try_call(1, 11);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::hypercall_rejected);
  CHECK(machines.size() == 0);
  CHECK(add(1, -10) == -9);

  auto greet = granted<void(std::string_view), asks::greet>(machines, allowed);
  CHECK(greet.try_call("good").has_value());
  CHECK(served == 3);
  CHECK(greet.try_call("bad").error().code == errc::hypercall_rejected);
  CHECK(served == 5);
  greet("good");
}

TEST_CASE("what a handler throws reaches the caller, and no machine is lost", "[hypercalls]") {
  bool throws = true;
  const auto allowed = knock_policy([&] {
    if (throws) throw std::runtime_error("the handler's own");
    return false;
  });
  pool<asks> machines({.max = 2});
  auto knock_on = granted<std::uint64_t(std::uint64_t), asks::knock_on>(machines, allowed);
  for (int i = 0; i < 5; ++i) {
    CHECK_THROWS_WITH(knock_on(3), "the handler's own");
    CHECK_THROWS_AS(static_cast<void>(knock_on.try_call(3)), std::runtime_error);
    CHECK(machines.size() == 0);
  }
  throws = false;
  CHECK(knock_on(3) == 1);
  CHECK(machines.size() == 1);
}

TEST_CASE("many hypercalls, and as many as the call allows", "[hypercalls]") {
  std::uint64_t knocks = 0;
  const auto allowed = knock_policy([&] { return ++knocks != 0; });
  pool<asks> machines;
  auto knock_on = granted<std::uint64_t(std::uint64_t), asks::knock_on>(machines, allowed);
  const std::uint64_t many = is_emulated() ? 200 : 3000;
  CHECK(knock_on(many) == many);
  CHECK(knocks == many);

  knocks = 0;
  CHECK(knock_on.with({.hypercalls = 10})(10) == 10);
  CHECK(machines.size() == 1);
  const auto stopped = knock_on.with({.hypercalls = 10}).try_call(11);
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == errc::hypercall_limit);
  CHECK(stopped.error().detail == 10);
  CHECK(knocks == 20);
  CHECK(knock_on.with({.hypercalls = 0}).try_call(1).error().code == errc::hypercall_limit);
  CHECK(knock_on.with({.hypercalls = 0})(0) == 0);
}

TEST_CASE("a handler may call another function", "[hypercalls]") {
  pool<asks> machines;
  auto inner = granted<std::int64_t(std::int8_t, std::int64_t), asks::add_by_host>(
      machines, knock_policy(stop_knocking));
  std::int64_t sum = 0;
  const auto allowed = knock_policy([&] {
    sum = inner(1, sum);
    return sum < 5;
  });
  auto outer = granted<std::uint64_t(std::uint64_t), asks::knock_on>(machines, allowed);
  CHECK(outer(100) == 5);
  CHECK(sum == 5);
  CHECK(machines.size() == 2);
}
