// Calls that are stopped: by a deadline, by their caller, by the size of a pool; and what does not
// stop them.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <guests/spins.hpp>
#include <guests/spins_types.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "host.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using spins = guests::spins;
// One type for all tests; what it does is said by the object.
using spin_policy = policy<allowed<running, std::function<bool()>>>;

spin_policy when_running(std::function<bool()> handler) {
  return spin_policy{allow<running>(std::move(handler))};
}

using runaway_fn = virtine_fn<void(), spins::run_away, spin_policy>;
using work_fn = virtine_fn<int(int, std::uint64_t), spins::work, spin_policy>;

const auto go_on = [] { return true; };

// What `got` failed with, for messages; empty if it did not.
template <class T>
std::string failure_of(const result<T>& got) {
  return got ? std::string() : to_string(got.error());
}

}  // namespace

TEST_CASE("a guest that never ends is stopped at its deadline", "[limits]") {
  pool<spins> machines({.max = 1});
  runaway_fn run_away(machines, when_running(go_on));
  work_fn work(machines, when_running(go_on));
  for (int i = 0; i < 5; ++i) {
    const auto stopped = run_away.with({.timeout = 20ms}).try_call();
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code == errc::timed_out);
    // Its machine is not used again, and does not count.
    CHECK(machines.size() == 0);
    CHECK(work(i, 10) == 3 * i);
    CHECK(machines.size() == 1);
  }
}

TEST_CASE("a deadline that has passed stops the call, whatever its distance", "[limits]") {
  pool<spins> machines;
  runaway_fn run_away(machines, when_running(go_on));
  for (const std::chrono::nanoseconds timeout :
       {std::chrono::nanoseconds(0), std::chrono::nanoseconds(-1), std::chrono::nanoseconds(-5s),
        std::chrono::nanoseconds(1), std::chrono::nanoseconds::min()}) {
    INFO(timeout.count());
    CHECK(run_away.with({.timeout = timeout}).try_call().error().code == errc::timed_out);
  }
  work_fn work(machines, when_running(go_on));
  CHECK(work(1, 1) == 3);
}

TEST_CASE("the longest timeouts do not wrap", "[limits]") {
  virtine_fn<int(int), guests::square> square;
  CHECK(square.with({.timeout = std::chrono::nanoseconds::max()})(3) == 9);
  CHECK(square.with({.timeout = std::chrono::nanoseconds::max() - 1s})(4) == 16);
  CHECK(square.with({.timeout = 24h})(5) == 25);
}

TEST_CASE("each call has its own deadline", "[limits]") {
  pool<spins> machines;
  std::atomic<bool> first_ended = false;
  // Asked again and again, the host lets the long call end only after the short one was stopped.
  const auto told = when_running([&] { return !first_ended.load(); });
  std::thread long_call([&] {
    virtine_fn<std::uint64_t(std::uint64_t), spins::until_told, spin_policy> until(machines, told);
    const auto rounds = until.with({.timeout = 60s}).try_call(100);
    INFO(failure_of(rounds));
    CHECK(rounds.has_value());
  });
  runaway_fn run_away(machines, when_running(go_on));
  const auto stopped = run_away.with({.timeout = 20ms}).try_call();
  first_ended = true;
  long_call.join();
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == errc::timed_out);
  CHECK(machines.size() == 1);
}

TEST_CASE("a deadline that passes in a handler ends the call when the guest would go on",
          "[limits]") {
  pool<spins> machines;
  int asked = 0;
  virtine_fn<std::uint64_t(std::uint64_t), spins::until_told, spin_policy> until(
      machines, when_running([&] {
        if (++asked == 3) std::this_thread::sleep_for(300ms);
        return asked < 5;
      }));
  CHECK(until.with({.timeout = 60s}).try_call(1).value() == 5);
  asked = 0;
  // The guest cannot have gone on by the time that the handler returns.
  const auto stopped = until.with({.timeout = 150ms}).try_call(1);
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == errc::timed_out);
  CHECK(asked <= 3);
}

TEST_CASE("a call is cancelled before, during and not after", "[limits]") {
  pool<spins> machines;
  work_fn work(machines, when_running(go_on));
  {
    std::stop_source source;
    source.request_stop();
    const auto stopped = work.with({.stop = source.get_token()}).try_call(1, 1);
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code == errc::cancelled);
  }
  for (int i = 0; i < 3; ++i) {
    std::stop_source source;
    std::atomic<bool> runs = false;
    runaway_fn run_away(machines, when_running([&] {
                          runs = true;
                          runs.notify_one();
                          return true;
                        }));
    std::thread other([&] {
      runs.wait(false);
      source.request_stop();
    });
    const auto stopped = run_away.with({.stop = source.get_token()}).try_call();
    runs = true;  // Or the other would wait for a call that failed.
    runs.notify_one();
    other.join();
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code == errc::cancelled);
  }
  {
    std::stop_source source;
    CHECK(work.with({.stop = source.get_token()})(2, 1) == 6);
    source.request_stop();
    CHECK(work(3, 1) == 9);
  }
}

TEST_CASE("a handler may cancel the call that it serves", "[limits]") {
  pool<spins> machines;
  std::stop_source source;
  int asked = 0;
  virtine_fn<std::uint64_t(std::uint64_t), spins::until_told, spin_policy> until(
      machines, when_running([&] {
        if (++asked == 3) source.request_stop();
        return true;
      }));
  const auto stopped = until.with({.stop = source.get_token()}).try_call(1);
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == errc::cancelled);
  CHECK(asked == 3);

  // Also of a guest that would not stop by itself again.
  std::stop_source later;
  runaway_fn run_away(machines, when_running([&] { return later.request_stop(); }));
  const auto also = run_away.with({.timeout = 1h, .stop = later.get_token()}).try_call();
  REQUIRE_FALSE(also.has_value());
  CHECK(also.error().code == errc::cancelled);
}

TEST_CASE("a cancelled call either completes or does not, at any moment", "[limits]") {
  const int rounds = is_emulated() ? 40 : 400;
  pool<spins> machines({.max = 1});
  work_fn work(machines, when_running(go_on));
  std::atomic<int> round = 0;
  std::array<std::stop_source, 2> sources;
  std::thread canceller([&] {
    for (int i = 1; i <= rounds; ++i) {
      round.wait(i - 1);
      // Moments spread over the call, a few before it begins and some after it has ended.
      for (int spin = (i * 7919) % 4000; spin > 0; --spin) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
      }
      sources[static_cast<std::size_t>(i) % 2].request_stop();
    }
  });
  int completed = 0;
  int cancelled = 0;
  std::string other;
  for (int i = 1; i <= rounds; ++i) {
    // The one that the other thread is not at; it is done with the round before the last, because
    // a stop that was requested is waited for below.
    auto& source = sources[static_cast<std::size_t>(i) % 2];
    source = std::stop_source();
    const std::stop_token token = source.get_token();
    round = i;
    round.notify_one();
    // Every tenth call would never complete.
    const std::uint64_t turns =
        i % 10 == 0 ? UINT64_MAX : static_cast<std::uint64_t>(i % 50) * 2000;
    const auto got = work.with({.stop = token}).try_call(i, turns);
    if (got) {
      ++completed;
      if (*got != 3 * i) other = "a wrong result";
    } else if (got.error().code == errc::cancelled) {
      ++cancelled;
    } else {
      other = to_string(got.error());
    }
    while (!token.stop_requested()) std::this_thread::yield();
    const auto next = work.try_call(i + 1, 1);
    if (!next) {
      other = "after: " + to_string(next.error());
    } else if (*next != 3 * (i + 1)) {
      other = "after: a wrong result";
    }
  }
  canceller.join();
  INFO(completed << " completed, " << cancelled << " were cancelled");
  CHECK(other.empty());
  CHECK(completed + cancelled == rounds);
  CHECK(cancelled >= rounds / 10);
  CHECK(machines.size() == 1);
}

TEST_CASE("deadlines that pass at the moment of completion", "[limits][long]") {
  const int rounds = is_emulated() ? 30 : 300;
  pool<spins> machines({.max = 1});
  work_fn work(machines, when_running(go_on));
  std::string other;
  for (int i = 0; i < rounds && other.empty(); ++i) {
    const auto got = work.with({.timeout = std::chrono::microseconds(i)}).try_call(i, 20'000);
    if (got ? *got != 3 * i : got.error().code != errc::timed_out)
      other = "short: " + failure_of(got);
    const auto next = work.try_call(i, 1);
    if (!next || *next != 3 * i) other = "after: " + failure_of(next);
  }
  CHECK(other == "");
}

namespace {
std::atomic<int> signals_seen = 0;
}

TEST_CASE("the caller's own signals do not end a call", "[limits]") {
  struct sigaction count {};
  struct sigaction before {};
  count.sa_handler = [](int) { signals_seen.fetch_add(1); };
  // Sound: the handler only counts, in a lock-free atomic.
  REQUIRE(sigaction(SIGUSR1, &count, &before) == 0);
  signals_seen = 0;
  constexpr int wanted = 20;
  pool<spins> machines;
  const pthread_t caller = pthread_self();
  std::atomic<bool> runs = false;
  virtine_fn<std::uint64_t(std::uint64_t), spins::until_told, spin_policy> until(
      machines, when_running([&] {
        runs = true;
        return signals_seen < wanted;
      }));
  std::thread sender([&] {
    while (!runs) std::this_thread::yield();
    for (int i = 0; i < 1000 && signals_seen < wanted; ++i) {
      pthread_kill(caller, SIGUSR1);
      std::this_thread::sleep_for(1ms);
    }
  });
  // Most of the time passes in the guest.
  const auto rounds = until.try_call(is_emulated() ? 50'000 : 500'000);
  runs = true;  // Or the sender would wait for a call that failed.
  sender.join();
  sigaction(SIGUSR1, &before, nullptr);
  INFO(failure_of(rounds));
  REQUIRE(rounds.has_value());
  CHECK(*rounds > 0);
  CHECK(signals_seen >= wanted);
  CHECK(machines.size() == 1);
}

TEST_CASE("a pool lends no more machines than it may", "[limits]") {
  pool<spins> machines({.max = 1, .when_exhausted = when_exhausted::fail});
  work_fn inner(machines, when_running(go_on));
  std::vector<error> seen;
  virtine_fn<std::uint64_t(std::uint64_t), spins::until_told, spin_policy> outer(
      machines, when_running([&] {
        const auto refused = inner.try_call(1, 1);
        if (!refused) seen.push_back(refused.error());
        return false;
      }));
  CHECK(outer(1) == 1);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].code == errc::pool_exhausted);
  CHECK(seen[0].detail == 1);
  CHECK(inner(2, 1) == 6);
  CHECK(machines.size() == 1);

  pool<guests::square> none({.max = 0});
  CHECK(virtine_fn<int(int), guests::square>(none).try_call(1).error().code ==
        errc::pool_exhausted);
}

TEST_CASE("many threads share a pool", "[limits]") {
  constexpr int threads = 8;
  const int calls = is_emulated() ? 10 : 50;
  pool<guests::square> machines({.max = threads});
  virtine_fn<int(int), guests::square> square(machines);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> running_threads;
    for (int t = 0; t < threads; ++t) {
      running_threads.emplace_back([&, t] {
        for (int i = 0; i < calls; ++i) {
          const int n = t * 1000 + i;
          const auto got = square.try_call(n);
          if (!got || *got != n * n) ++wrong;
        }
      });
    }
  }
  CHECK(wrong == 0);
  CHECK(machines.size() >= 1);
  CHECK(machines.size() <= threads);
}

TEST_CASE("a thousand calls in a row make one machine", "[limits]") {
  const int calls = is_emulated() ? 100 : 1000;
  pool<guests::square> machines;
  virtine_fn<int(int), guests::square> square(machines);
  int wrong = 0;
  for (int i = 0; i < calls; ++i) wrong += square(i) != i * i;
  CHECK(wrong == 0);
  CHECK(machines.size() == 1);
}

TEST_CASE("a machine may be used by one thread after another", "[limits]") {
  pool<spins> machines({.max = 1});
  work_fn work(machines, when_running(go_on));
  runaway_fn run_away(machines, when_running(go_on));
  CHECK(work(1, 1) == 3);
  for (int i = 0; i < 4; ++i) {
    int got = 0;
    errc why{};
    std::thread([&] {
      got = work.try_call(i, 1).value_or(-1);
      why = run_away.with({.timeout = 5ms}).try_call().error().code;
    }).join();
    CHECK(got == 3 * i);
    CHECK(why == errc::timed_out);
  }
}
