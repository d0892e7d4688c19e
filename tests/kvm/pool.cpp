// Pools on real machines: many threads, background work, calls without waiting, and their limits.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <guests/pages.hpp>
#include <guests/spins.hpp>
#include <guests/spins_types.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "host.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using square_fn = virtine_fn<int(int), guests::square>;
using spin_policy = policy<allowed<running, std::function<bool()>>>;
using runaway_fn = virtine_fn<void(), guests::spins::run_away, spin_policy>;

std::uint64_t next_random(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state >> 32;
}

// Sets the limit of descriptors while it exists. It is lifted to the hard limit at most.
class descriptor_limit {
 public:
  explicit descriptor_limit(rlim_t wanted) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit now{.rlim_cur = std::min(wanted, before_.rlim_max), .rlim_max = before_.rlim_max};
    reached_ = ::setrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == wanted;
  }
  ~descriptor_limit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  descriptor_limit(const descriptor_limit&) = delete;
  descriptor_limit& operator=(const descriptor_limit&) = delete;

  [[nodiscard]] bool reached() const { return reached_; }

 private:
  rlimit before_{};
  bool reached_ = false;
};

}  // namespace

TEST_CASE("many threads call, fail and are stopped, on every kind of pool", "[pool]") {
  const auto policy = GENERATE(when_exhausted::wait, when_exhausted::create);
  const auto how = GENERATE(cleaning::on_return, cleaning::in_background);
  const int thread_count = is_emulated() ? 4 : 64;
  const int rounds = is_emulated() ? 5 : 12;
  std::atomic<int> wrong = 0;
  std::atomic<int> right = 0;
  {
    pool<guests::spins> machines({.max = 6, .warm = 2, .when_exhausted = policy, .cleaning = how});
    const spin_policy rules{allow<running>(std::function<bool()>([] { return true; }))};
    virtine_fn<int(int, std::uint64_t), guests::spins::work, spin_policy> work(machines, rules);
    runaway_fn run_away(machines, rules);
    std::vector<std::thread> threads;
    for (int t = 0; t < thread_count; ++t) {
      threads.emplace_back([&, t] {
        std::uint64_t random = 88172645463325252U + static_cast<std::uint64_t>(t) * 7919;
        for (int i = 0; i < rounds; ++i) {
          switch (next_random(random) % 8) {
            case 0: {
              const auto stopped = run_away.with({.timeout = 1ms}).try_call();
              if (stopped || stopped.error().code != errc::timed_out) ++wrong;
              break;
            }
            case 1: {
              std::stop_source source;
              auto soon = run_away.with({.timeout = 60s, .stop = source.get_token()}).async();
              source.request_stop();
              if (soon.try_get().error().code != errc::cancelled) ++wrong;
              break;
            }
            case 2:
              machines.trim(next_random(random) % 4);
              break;
            default: {
              const auto done = work.with({.timeout = 60s}).try_call(i, 10);
              if (!done || *done != 3 * i) ++wrong;
              ++right;
            }
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(machines.size() <= 6);
  }
  CHECK(wrong == 0);
  CHECK(right > 0);
}

TEST_CASE("a pool may be destroyed while its last calls come back", "[pool]") {
  const int rounds = is_emulated() ? 5 : 60;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < rounds; ++i) {
    auto machines = std::make_unique<pool<guests::square>>(
        pool_options{.max = 2,
                     .warm = static_cast<std::size_t>(i % 3),
                     .when_exhausted = when_exhausted::wait,
                     .cleaning = i % 2 == 0 ? cleaning::on_return : cleaning::in_background});
    std::atomic<int> begun = 0;
    std::atomic<bool> go = false;
    const auto call = [&, lender = machines.get()] {
      auto lent = lender->borrow();
      ++begun;
      if (!lent) {
        ++wrong;
        return;
      }
      while (!go) std::this_thread::yield();
      if (!(*lent)->enter(guests::square::only_entry::address, {})) ++wrong;
      lent->give_back(64);
    };
    std::vector<std::thread> threads;
    threads.emplace_back(call);
    threads.emplace_back(call);
    while (begun < 2) std::this_thread::yield();
    // Both machines are in use, so that the third call is in the queue.
    const auto waits = machines->stats().waits;
    threads.emplace_back(call);
    while (machines->stats().waits == waits && wrong == 0) std::this_thread::yield();
    go = true;
    if (wrong == 0) machines.reset();  // Else the third call may not have begun.
    for (auto& thread : threads) thread.join();
  }
  CHECK(wrong == 0);
}

TEST_CASE("a call that is faster than the background finds a wiped machine", "[pool]") {
  pool<guests::pages> machines({.max = 2, .cleaning = cleaning::in_background});
  using sig = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);
  virtine_fn<sig, guests::pages::scribble> scribble(machines);
  // Whoever wipes a machine, the pool's thread or the call that needs it.
  const std::uint64_t calls = is_emulated() ? 20 : 300;
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < calls; ++i) wrong += scribble(i, 0, 40, 1);
  CHECK(wrong == 0);
  CHECK(machines.size() <= 2);
}

TEST_CASE("calls run without waiting for them", "[pool]") {
  pool<guests::square> machines({.workers = 3});
  square_fn square(machines);
  std::vector<pending<int>> all;
  for (int i = 0; i < 40; ++i) all.push_back(square.async(i));
  for (int i = 0; i < 40; ++i) CHECK(all[static_cast<std::size_t>(i)].get() == i * i);
  CHECK(machines.size() <= 3);

  auto one = square.with({.timeout = 60s}).async(7);
  pollfd ready{.fd = one.event_fd().value(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&ready, 1, -1) == 1);
  CHECK(one.ready());
  CHECK(one.get() == 49);
}

TEST_CASE("a call that nobody waits for can be stopped, and fail", "[pool]") {
  std::atomic<bool> runs = false;
  const auto tell = [&] {
    runs = true;
    runs.notify_one();
    return true;
  };
  pool<guests::spins> machines({.workers = 1});
  runaway_fn run_away(machines, spin_policy{allow<running>(std::function<bool()>(tell))});
  auto first = run_away.with({.timeout = 60s}).async();
  auto behind = run_away.with({.timeout = 60s}).async();
  behind.cancel();
  runs.wait(false);
  CHECK_FALSE(first.ready());
  first.cancel();
  CHECK(first.try_get().error().code == errc::cancelled);
  CHECK(behind.try_get().error().code == errc::cancelled);
  CHECK(run_away.with({.timeout = 10ms}).async().try_get().error().code == errc::timed_out);

  runaway_fn throws(machines, spin_policy{allow<running>(std::function<bool()>([]() -> bool {
                      throw std::runtime_error("from the handler");
                    }))});
  auto thrown = throws.async();
  CHECK_THROWS_WITH(thrown.get(), "from the handler");
  CHECK(thrown.try_get().error().code == errc::machine_failure);
  CHECK(machines.size() == 0);
}

TEST_CASE("a function with a pool of its own waits for its calls", "[pool]") {
  std::atomic<int> asked = 0;
  std::vector<pending<std::uint64_t>> all;
  {
    virtine_fn<std::uint64_t(std::uint64_t), guests::spins::until_told, spin_policy> until(
        spin_policy{allow<running>(std::function<bool()>([&] { return ++asked % 3 != 0; }))});
    for (int i = 0; i < 4; ++i) all.push_back(until.async(1));
  }
  for (auto& each : all) {
    REQUIRE(each.ready());
    CHECK(each.try_get().has_value());
  }
  CHECK(asked >= 4);
}

TEST_CASE("a machine that a call made slow is replaced", "[pool]") {
  pool<guests::pages> machines({.write_set_max = 32});
  using sig = std::uint64_t(std::uint64_t, std::uint32_t, std::uint32_t, std::uint32_t);
  virtine_fn<sig, guests::pages::scribble> scribble(machines);
  CHECK(scribble(1, 0, 5, 1) == 0);
  CHECK(machines.stats().discarded == 0);
  CHECK(scribble(2, 0, 200, 1) == 0);
  while (machines.stats().idle != 1) std::this_thread::yield();
  CHECK(machines.stats().discarded == 1);
  CHECK(machines.stats().created == 2);
  CHECK(scribble(3, 0, 5, 1) == 0);
}

TEST_CASE("a process without descriptors says so and gets over it", "[pool]") {
  pool<guests::square> machines;
  square_fn square(machines);
  CHECK(square(2) == 4);
  {
    const descriptor_limit none(0);
    // What exists goes on.
    CHECK(square(3) == 9);
    const auto refused = machines.warm_up(2);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::os_error);
    CHECK(refused.error().os_error == EMFILE);
    CHECK(machines.size() == 1);
    auto one = square.async(4);
    CHECK(one.get() == 16);
    CHECK(one.event_fd().error().os_error == EMFILE);
  }
  REQUIRE(machines.warm_up(2));
  CHECK(machines.size() == 2);
}

TEST_CASE("signals of the program's own do not keep machines from being made", "[pool]") {
  struct sigaction before {};
  struct sigaction counting {};
  counting.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGUSR1, &counting, &before) == 0);
  const pthread_t self = ::pthread_self();
  std::atomic<bool> done = false;
  std::thread sender([&] {
    while (!done) {
      ::pthread_kill(self, SIGUSR1);
      std::this_thread::sleep_for(is_emulated() ? 5ms : 50us);
    }
  });
  const int rounds = is_emulated() ? 10 : 300;
  std::string failed;
  for (int i = 0; i < rounds && failed.empty(); ++i) {
    square_fn square;
    const auto reply = square.try_call(i);
    if (!reply) failed = to_string(reply.error());
  }
  done = true;
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  INFO(failed);
  CHECK(failed.empty());
}

TEST_CASE("a pool can hold a thousand machines", "[pool]") {
  const std::size_t count = is_emulated() ? 20 : 1000;
  const descriptor_limit enough(3 * count + 200);
  if (!enough.reached()) {
    WARN("skipped: the limit of descriptors (ulimit -n) cannot be raised to " << 3 * count + 200);
    return;
  }
  pool<guests::square> machines({.max = count});
  const auto warmed = machines.warm_up(count);
  if (!warmed && warmed.error().os_error == ENOMEM) {
    WARN("skipped: " << to_string(warmed.error()));
    return;
  }
  REQUIRE(warmed);
  square_fn square(machines);
  CHECK(square(5) == 25);
  CHECK(machines.stats().idle == count);
  {
    std::vector<pool<guests::square>::lease> all;
    for (std::size_t i = 0; i < count; ++i) {
      auto lent = machines.borrow();
      REQUIRE(lent);
      REQUIRE((*lent)->enter(guests::square::only_entry::address, {}));
      all.push_back(*std::move(lent));
    }
    const auto late = square.with({.timeout = std::chrono::milliseconds(1)}).try_call(6);
    CHECK(late.error().code == errc::timed_out);
    for (auto& each : all) each.give_back(64);
  }
  CHECK(machines.stats().idle == count);
  machines.trim(1);
  CHECK(machines.size() == 1);
  CHECK(square(7) == 49);
}
