// What a call used, and a limit on its CPU time.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <thread>
#include <vector>

#include <guests/pages.hpp>
#include <guests/spins.hpp>
#include <guests/spins_types.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace std::chrono_literals;

namespace {

using spin_policy = policy<allowed<running, std::function<bool()>>>;
using square_fn = virtine_fn<int(int), guests::square>;

spin_policy when_running(std::function<bool()> handler) {
  return spin_policy{allow<running>(std::move(handler))};
}

}  // namespace

TEST_CASE("a call says what it used", "[usage]") {
  square_fn square;
  CHECK(square(2) == 4);
  call_usage used;
  CHECK(square.with({.usage = &used})(3) == 9);
  CHECK(used.calls == 1);
  CHECK(used.exits == 1);
  CHECK(used.traps == 0);
  // The pages of the stack and of the arguments, of those that are always restored.
  CHECK(used.pages_written >= 1);
  CHECK(used.pages_written < 10);
  CHECK(used.bytes_in >= 8);  // An int each, and what aligns them.
  CHECK(used.bytes_out == 4);
  CHECK(used.guest_time > 0ns);
  CHECK(used.guest_cpu > 0ns);
  // Each call adds.
  const call_usage before = used;
  CHECK(square.with({.usage = &used})(4) == 16);
  CHECK(used.calls == 2);
  CHECK(used.exits == 2);
  CHECK(used.bytes_in == 2 * before.bytes_in);
  CHECK(used.guest_time > before.guest_time);
  // And none that was not asked to.
  CHECK(square(5) == 25);
  CHECK(used.calls == 2);
}

TEST_CASE("what a call used has its first writes, and pages that it changed", "[usage]") {
  using sig = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);
  pool<guests::pages> machines;
  virtine_fn<sig, guests::pages::scribble> scribble(machines);
  CHECK(scribble(1, 0, 1, 1) == 0);
  call_usage used;
  CHECK(scribble.with({.usage = &used})(1, 10, 40, 7) == 0);
  CHECK(used.traps == 40);  // One in seven: none is guessed.
  CHECK(used.exits == 41);
  CHECK(used.pages_written >= 40);
  CHECK(used.pages_written < 50);
  // The second time they are writable from the start. What is restored but not written is not
  // counted.
  call_usage again;
  CHECK(scribble.with({.usage = &again})(1, 10, 3, 7) == 0);
  CHECK(again.traps == 0);
  CHECK(again.exits == 1);
  CHECK(again.pages_written < 13);
}

TEST_CASE("what a call used has what its handlers and outputs moved", "[usage]") {
  std::atomic<int> rounds = 0;
  virtine_fn<std::uint64_t(std::uint64_t), guests::spins::until_told, spin_policy> until(
      when_running([&] { return ++rounds % 4 != 0; }));
  CHECK(until(1) == 4);
  call_usage used;
  CHECK(until.with({.usage = &used})(1) == 4);
  CHECK(used.exits == 5);  // Four hypercalls and the end.
  CHECK(used.traps == 0);
  CHECK(used.bytes_in > 16);  // The frame, and four answers.
  CHECK(used.bytes_out >= 8);

  call_usage of_jobs;
  square_fn square;
  const auto together = square.with({.usage = &of_jobs}).together(std::array{1, 2, 3});
  REQUIRE(together);
  CHECK(*together == std::vector{1, 4, 9});
  CHECK(of_jobs.calls == 1);
  CHECK(of_jobs.bytes_out == 12);
  CHECK(of_jobs.bytes_in >= 24);
  call_usage of_each;
  CHECK(square.with({.usage = &of_each}).each(std::array{1, 2, 3}).size() == 3);
  CHECK(of_each.calls == 3);
}

TEST_CASE("a call that fails says what it used", "[usage]") {
  virtine_fn<void(), guests::spins::run_away, spin_policy> run_away(
      when_running([] { return true; }));
  call_usage used;
  const auto ended = run_away.with({.timeout = 100ms, .usage = &used}).try_call();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == errc::timed_out);
  CHECK(used.calls == 1);
  CHECK(used.exits >= 1);
  CHECK(used.guest_time > 50ms);
}

TEST_CASE("a call ends when it has used its CPU time", "[usage]") {
  pool<guests::spins> machines({.max = 2});
  virtine_fn<void(), guests::spins::run_away, spin_policy> run_away(
      machines, when_running([] { return true; }));
  virtine_fn<int(int, std::uint64_t), guests::spins::work, spin_policy> work(
      machines, when_running([] { return true; }));
  REQUIRE(work(1, 1) == 3);
  const auto begin = std::chrono::steady_clock::now();
  call_usage used;
  const auto ended = run_away.with({.timeout = 1h, .cpu_time = 50ms, .usage = &used}).try_call();
  const auto took = std::chrono::steady_clock::now() - begin;
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == errc::cpu_limit);
  CHECK(took >= 50ms);
  CHECK(used.guest_cpu > 20ms);
  // The next call has none, or its own; a time of zero is one that has passed.
  CHECK(work(2, 1'000) == 6);
  CHECK(work.with({.cpu_time = 1h})(2, 1'000) == 6);
  CHECK(run_away.with({.timeout = 1h, .cpu_time = 0ns}).try_call().error().code == errc::cpu_limit);
  // Whichever is over first.
  CHECK(run_away.with({.timeout = 50ms, .cpu_time = 1h}).try_call().error().code ==
        errc::timed_out);
}

TEST_CASE("time in which a thread does not run is not CPU time", "[usage]") {
  // The handler sleeps for longer than the call may compute.
  std::atomic<int> rounds = 0;
  virtine_fn<std::uint64_t(std::uint64_t), guests::spins::until_told, spin_policy> until(
      when_running([&] {
        std::this_thread::sleep_for(100ms);
        return ++rounds % 4 != 0;
      }));
  const auto got = until.with({.cpu_time = 200ms}).try_call(1);
  INFO((got ? std::string() : to_string(got.error())));
  REQUIRE(got);
  CHECK(*got == 4);
}

TEST_CASE("a session has no account and no limit of CPU time", "[usage][session]") {
  square_fn square;
  session stays(square);
  call_usage used;
  const auto counted = stays.with({.usage = &used}).try_call(3);
  REQUIRE_FALSE(counted);
  CHECK(counted.error().code == errc::bad_argument);
  CHECK(stays.with({.cpu_time = 1s}).try_call(3).error().code == errc::bad_argument);
  CHECK(stays(3) == 9);
}
