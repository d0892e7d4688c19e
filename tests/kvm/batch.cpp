// Many calls of one function: each in a fresh state, or together in one.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <list>
#include <map>
#include <span>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <guests/fib32.hpp>
#include <guests/jobs.hpp>
#include <guests/jobs_types.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using jobs = guests::jobs;

struct answerer {
  int* asked;
  int operator()(tainted<int> n) const {
    ++*asked;
    return n.verify([](int value) { return value + 1; });
  }
};
using asking_policy = policy<allowed<question, answerer>>;

// Functions of the jobs image on one machine.
struct bench {
  pool<jobs> machines{{.max = 1}};
  int asked = 0;

  template <class Sig, class Entry>
  virtine_fn<Sig, Entry, asking_policy> fn() {
    return virtine_fn<Sig, Entry, asking_policy>(machines,
                                                 asking_policy(allow<question>(answerer{&asked})));
  }
};

std::vector<int> numbers(int count) {
  std::vector<int> all;
  for (int i = 0; i < count; ++i) all.push_back(i);
  return all;
}

// Numbers that can be read but once.
struct once {
  std::istream& from;
  std::istream_iterator<int> begin() const { return {from}; }
  std::istream_iterator<int> end() const { return {}; }
};

}  // namespace

TEST_CASE("elements after a stop request cost no machine", "[batch]") {
  struct stopping {
    int number;
    std::stop_source* source;
    operator int() const {  // NOLINT(google-explicit-constructor)
      if (number == 3) source->request_stop();
      return number;
    }
  };
  bench b;
  std::stop_source source;
  std::vector<stopping> all;
  for (int n : numbers(8)) all.push_back({n, &source});
  auto is_even = b.fn<bool(int), jobs::is_even>();
  const auto replies = is_even.with({.stop = source.get_token()}).each(all);
  REQUIRE(replies.size() == 8);
  for (std::size_t i = 0; i < 3; ++i) CHECK(replies[i].value() == (i % 2 == 0));
  for (std::size_t i = 3; i < 8; ++i) CHECK(replies[i].error().code == errc::cancelled);
  CHECK(b.machines.stats().created == 1);
  CHECK(b.machines.size() == 1);
}

TEST_CASE("each element finds a fresh state, and all of them one machine", "[batch]") {
  bench b;
  auto exchange = b.fn<int(int), jobs::exchange>();
  const auto replies = exchange.each(numbers(20));
  REQUIRE(replies.size() == 20);
  for (const auto& reply : replies) CHECK(reply.value() == 0);
  CHECK(b.machines.size() == 1);
  auto dirty = b.fn<int(int), jobs::dirty>();
  for (const auto& reply : dirty.each(std::array{64, 3, 64, 0})) CHECK(reply.value() == 0);
  CHECK(exchange(1) == 0);
  CHECK(b.machines.size() == 1);
}

TEST_CASE("an element that fails stops no other", "[batch]") {
  bench b;
  auto quotient = b.fn<int(int, int), jobs::quotient>();
  const std::vector<std::tuple<int, int>> pairs{{8, 2}, {1, 0}, {9, 3}, {2, 0}, {3, 0}, {-8, 4}};
  const auto replies = quotient.each(pairs);
  REQUIRE(replies.size() == pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    INFO(i);
    const auto [a, divisor] = pairs[i];
    if (divisor != 0) {
      CHECK(replies[i].value() == a / divisor);
    } else {
      CHECK(replies[i].error().fault.kind == fault_kind::divide_error);
      CHECK_FALSE(replies[i].error().job);
    }
  }
  CHECK(b.machines.size() == 1);
  CHECK_FALSE(quotient.each(std::array{std::pair{1, 0}})[0]);
  CHECK(b.machines.size() == 0);
}

TEST_CASE("limits hold for each element", "[batch]") {
  bench b;
  auto spin = b.fn<int(std::uint64_t), jobs::spin>();
  const auto replies =
      spin.with({.timeout = 50ms})
          .each(std::array{UINT64_MAX, std::uint64_t{1}, UINT64_MAX, std::uint64_t{1}});
  REQUIRE(replies.size() == 4);
  for (const std::size_t i : {0u, 2u}) CHECK(replies[i].error().code == errc::timed_out);
  for (const std::size_t i : {1u, 3u}) CHECK(replies[i].value() == 1);

  auto ask = b.fn<int(int), jobs::ask>();
  const auto asked = ask.with({.hypercalls = 3}).each(std::array{3, 4, 3});
  CHECK(asked[0].value() == 6);
  CHECK(asked[1].error().code == errc::hypercall_limit);
  CHECK(asked[2].value() == 6);

  for (const auto& reply : spin.with({.timeout = 0ms}).each(std::array{1u, 2u})) {
    CHECK(reply.error().code == errc::timed_out);
  }
}

TEST_CASE("jobs may come from any range", "[batch]") {
  bench b;
  auto even = b.fn<bool(int), jobs::is_even>();
  std::istringstream text("1 2 3");
  const auto read = even.each(once{text});
  REQUIRE(read.size() == 3);
  CHECK(read[1].value());
  CHECK(even.together(std::list<int>{1, 2, 3}).value() == std::vector<bool>{false, true, false});
  const int plain[] = {4, 5};
  CHECK(even.together(plain).value() == std::vector<bool>{true, false});
  CHECK(even.together(std::vector<int>{}).value().empty());
  CHECK(even.each(std::vector<int>{}).empty());

  auto count = b.fn<int(), jobs::count>();
  CHECK(count.together(std::array<std::tuple<>, 3>{}).value() == std::vector{1, 2, 3});
  CHECK(count.each(std::array<std::tuple<>, 2>{})[1].value() == 1);

  auto length = b.fn<std::uint64_t(std::string_view, std::uint64_t), jobs::length>();
  const std::map<std::string, int> words{{"a", 1}, {"bcd", 2}};
  CHECK(length.together(words).value() == std::vector<std::uint64_t>{2, 5});
  CHECK(length.each(words)[1].value() == 5);
}

TEST_CASE("jobs that run together share one state, and the next batch finds none of it",
          "[batch]") {
  bench b;
  auto exchange = b.fn<int(int), jobs::exchange>();
  for (int round = 0; round < 3; ++round) {
    CHECK(exchange.together(std::array{7, 8, 9}).value() == std::vector{0, 7, 8});
  }
  CHECK(exchange(1) == 0);

  // More than one batch holds: 32 bytes a job, 64 KiB of arguments.
  const auto replies = exchange.together(numbers(6000)).value();
  REQUIRE(replies.size() == 6000);
  std::vector<std::size_t> begins;
  for (std::size_t i = 1; i < replies.size(); ++i) {
    if (replies[i] == 0 && i != 1) begins.push_back(i);
    if (replies[i] != 0) CHECK(replies[i] == static_cast<int>(i) - 1);
  }
  CHECK(begins.size() == 2);
  CHECK(b.machines.size() == 1);

  auto dirty = b.fn<int(int), jobs::dirty>();
  for (int round = 0; round < 3; ++round) {
    CHECK(dirty.together(std::array{1, 2, 64, 0}).value() == std::vector{0, 1, 2, 64});
  }
}

TEST_CASE("spans of each job come and go", "[batch]") {
  bench b;
  auto negate = b.fn<void(std::span<int>), jobs::negate>();
  std::vector<std::vector<int>> rows;
  for (int i = 0; i < 300; ++i) rows.emplace_back(static_cast<std::size_t>(i % 200), i);
  const auto check = [&](int sign) {
    for (int i = 0; i < 300; ++i) {
      for (const int value : rows[static_cast<std::size_t>(i)]) CHECK(value == sign * i);
    }
  };
  REQUIRE(negate.together(rows));
  check(-1);
  for (const auto& done : negate.each(rows)) CHECK(done);
  check(1);

  std::vector<int> large(20'000, 1);
  const auto refused = negate.together(std::array{std::span(rows[1]), std::span(large)});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::arguments_too_large);
  CHECK(refused.error().job == 1u);
  CHECK(refused.error().detail > 80'000);
  CHECK(large[0] == 1);
}

TEST_CASE("frames of a batch are aligned for their types", "[batch]") {
  bench b;
  auto turned = b.fn<block(block), jobs::turned>();
  std::vector<block> blocks(100);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i].words[0] = i;
  const auto replies = turned.together(blocks).value();
  for (std::size_t i = 0; i < blocks.size(); ++i) CHECK(replies[i].words[7] == i);
}

TEST_CASE("a batch that fails says in which job", "[batch]") {
  bench b;
  auto quotient = b.fn<int(int, int), jobs::quotient>();
  std::vector<std::pair<int, int>> pairs(3000, {4, 2});
  CHECK(quotient.together(pairs).value() == std::vector<int>(3000, 2));
  for (const std::size_t bad :
       {std::size_t{0}, std::size_t{1}, std::size_t{1999}, std::size_t{2999}}) {
    pairs[bad].second = 0;
    const auto failed = quotient.together(pairs);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == errc::guest_fault);
    CHECK(failed.error().fault.kind == fault_kind::divide_error);
    CHECK(failed.error().job == bad);
    CHECK(to_string(failed.error()).ends_with(", in job " + std::to_string(bad)));
    CHECK(b.machines.size() == 0);
    pairs[bad].second = 2;
  }
}

TEST_CASE("limits of a batch", "[batch]") {
  bench b;
  auto spin = b.fn<int(std::uint64_t), jobs::spin>();
  const auto late = spin.with({.timeout = 50ms}).together(std::array{std::uint64_t{1}, UINT64_MAX});
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::timed_out);
  CHECK(late.error().job == 1u);
  CHECK(b.machines.size() == 0);
  CHECK(spin.with({.timeout = 0ms}).together(std::array{1u}).error().code == errc::timed_out);

  auto ask = b.fn<int(int), jobs::ask>();
  CHECK(ask.with({.hypercalls = 6}).together(std::array{1, 2, 3}).value() == std::vector{1, 3, 6});
  CHECK(b.asked == 6);
  const auto many = ask.with({.hypercalls = 5}).together(std::array{1, 2, 3});
  REQUIRE_FALSE(many);
  CHECK(many.error().code == errc::hypercall_limit);
  CHECK(many.error().job == 2u);

  std::stop_source source;
  source.request_stop();
  CHECK(spin.with({.stop = source.get_token()}).together(std::array{1u}).error().code ==
        errc::cancelled);
}

TEST_CASE("a handler that throws in the middle of a batch takes the machine with it", "[batch]") {
  pool<jobs> machines;
  auto throwing = policy{allow<question>([](tainted<int> n) -> int {
    if (n.unverified_because("only compared") == 1) throw std::runtime_error("enough");
    return 0;
  })};
  virtine_fn<int(int), jobs::ask, decltype(throwing)> ask(machines, throwing);
  CHECK_THROWS_WITH(ask.together(std::array{1, 1, 2}), "enough");
  CHECK(machines.size() == 0);
  CHECK_THROWS_WITH(ask.each(std::array{1, 2}), "enough");
  CHECK(machines.size() == 0);
}

TEST_CASE("a handler that changes the jobs of its batch does not lead the host astray", "[batch]") {
  pool<jobs> machines;
  std::vector<int> small(4, 5);
  std::vector<int> large(40'000);
  std::vector<std::span<int>> spans(3, small);
  auto changing = policy{allow<question>([&](tainted<int>) {
    spans[1] = large;
    return 0;
  })};
  virtine_fn<void(std::span<int>), jobs::ask_for, decltype(changing)> ask_for(machines, changing);
  const auto failed = ask_for.together(spans);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == errc::out_of_range);
  CHECK(failed.error().job == 1u);
}

TEST_CASE("bare images have each, one machine for all", "[batch][own_vm]") {
  virtine_fn<int(int), guests::fib32> fib;
  const auto replies = fib.each(std::array{1, 2, 10});
  CHECK(replies[0].value() == 1);
  CHECK(replies[1].value() == 1);
  CHECK(replies[2].value() == 55);
}
