// What pools do besides lending: waiting, warming, wiping in the background, replacing, ending; on
// machines that play a script.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <virtine/pool.hpp>

#include "../scripted_machine.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

constexpr image_description image{};
using pool_type = basic_pool<scripted_machine>;

// Each test begins without machines and ends so.
struct fresh {
  fresh() { scripted_machine::forget(); }
  ~fresh() {
    CHECK(scripted_machine::alive == 0);
    scripted_machine::forget();
  }
};

// Waits until `true_now`, for whatever another thread is about to do.
template <class Condition>
void await(Condition true_now) {
  while (!true_now()) std::this_thread::yield();
}

void await_waits(const pool_type& pool, std::uint64_t count) {
  await([&] { return pool.stats().waits == count; });
}

// A door that a thread stops at until it is opened.
struct door {
  std::atomic<int> arrived = 0;
  std::atomic<bool> open = false;

  void pass() {
    ++arrived;
    open.wait(false);
  }
  void let_all_pass() {
    open = true;
    open.notify_all();
  }
};

}  // namespace

TEST_CASE_METHOD(fresh, "a call may wait for a machine", "[pool]") {
  pool_type pool(image, {.max = 1, .when_exhausted = when_exhausted::wait});
  auto held = pool.borrow();
  REQUIRE(held);
  const auto* const machine = &**held;
  const scripted_machine* got = nullptr;
  std::chrono::nanoseconds waited{0};
  std::thread other([&] {
    auto lent = pool.borrow();
    got = &**lent;
    waited = lent->waited();
    lent->give_back(0);
  });
  await_waits(pool, 1);
  CHECK(held->waited() == 0ns);

  SECTION("that comes back") {
    held->give_back(0);
    other.join();
    CHECK(got == machine);
    CHECK(scripted_machine::created == 1);
  }
  SECTION("that is made because another is discarded") {
    (*held)->abandon();
    held->give_back(0);
    other.join();
    CHECK(scripted_machine::created == 2);
    CHECK(pool.stats().discarded == 1);
  }
  CHECK(waited > 0ns);
  // Slots are in use again.
  const auto again = pool.borrow();
  CHECK(pool.stats().waits == 1);
}

TEST_CASE_METHOD(fresh, "waiting ends with the call's time or at its stop", "[pool]") {
  pool_type pool(image, {.max = 1, .when_exhausted = when_exhausted::wait});
  auto held = pool.borrow();
  REQUIRE(held);
  CHECK(pool.borrow(1ms).error().code == errc::timed_out);
  CHECK(pool.borrow(0ns).error().code == errc::timed_out);
  std::stop_source source;
  errc why{};
  std::thread other([&] { why = pool.borrow(1h, source.get_token()).error().code; });
  await_waits(pool, 3);
  source.request_stop();
  other.join();
  CHECK(why == errc::cancelled);
  CHECK(pool.borrow(1h, source.get_token()).error().code == errc::cancelled);
  static std::atomic<bool> flag;
  flag = false;
  std::thread asking([&] { why = pool.borrow(1h, {}, [] { return flag.load(); }).error().code; });
  await_waits(pool, 5);
  why = errc::timed_out;
  flag = true;
  asking.join();
  CHECK(why == errc::cancelled);
  held->give_back(0);
  CHECK(pool.borrow(1ms));
}

TEST_CASE_METHOD(fresh, "who waits longest is served first", "[pool]") {
  pool_type pool(image, {.max = 1, .when_exhausted = when_exhausted::wait});
  auto held = pool.borrow();
  REQUIRE(held);
  std::vector<int> served;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      auto lent = pool.borrow();
      served.push_back(i);  // Whoever has the only machine is alone.
      lent->give_back(0);
    });
    await_waits(pool, static_cast<std::uint64_t>(i) + 1);
  }
  held->give_back(0);
  // This thread comes last, although it is the one that could take the machine at once.
  CHECK(pool.borrow());
  for (auto& thread : threads) thread.join();
  CHECK(served == std::vector{0, 1, 2, 3});
}

TEST_CASE_METHOD(fresh, "a machine may be made for one call", "[pool]") {
  pool_type pool(image, {.max = 1, .when_exhausted = when_exhausted::create});
  auto first = pool.borrow();
  REQUIRE(first);
  {
    auto second = pool.borrow();
    REQUIRE(second);
    CHECK(pool.size() == 2);
    REQUIRE(second->replace());
    CHECK(pool.size() == 2);
    second->give_back(0);
    CHECK(pool.size() == 1);
    const auto third = pool.borrow();
    CHECK(pool.size() == 2);
    scripted_machine::refusal = error{.code = errc::os_error};
    CHECK(pool.borrow().error().code == errc::os_error);
    scripted_machine::refusal.reset();
  }
  CHECK(pool.size() == 1);
  CHECK(scripted_machine::created == 4);
  first->give_back(0);
  CHECK(pool.stats().idle == 1);
}

TEST_CASE_METHOD(fresh, "a machine that writes too much is replaced in the background", "[pool]") {
  pool_type pool(image, {.write_set_max = 50});
  const auto call = [&](std::size_t pages) {
    auto lent = pool.borrow();
    REQUIRE(lent);
    (*lent)->written.resize(pages);
    lent->give_back(0);
  };
  call(50);
  CHECK(pool.stats().discarded == 0);
  CHECK(scripted_machine::created == 1);
  CHECK(scripted_machine::told_outgrown == 0);
  call(51);
  // Else what machines have learned to need could be too much for each of them, for ever.
  CHECK(scripted_machine::told_outgrown == 1);
  await([&] { return pool.stats().idle == 1; });
  CHECK(pool.stats().discarded == 1);
  CHECK(scripted_machine::created == 2);
  CHECK(pool.size() == 1);
}

TEST_CASE_METHOD(fresh, "a machine is replaced after its last call", "[pool]") {
  pool_type pool(image, {.max_calls = 3});
  const auto call = [&] {
    auto lent = pool.borrow();
    REQUIRE(lent);
    REQUIRE((*lent)->enter(1, {}));
    lent->give_back(0);
  };
  call();
  call();
  CHECK(pool.stats().discarded == 0);
  call();
  await([&] { return pool.stats().idle == 1; });
  CHECK(pool.stats().discarded == 1);
  CHECK(scripted_machine::created == 2);
  CHECK(scripted_machine::told_outgrown == 0);
  call();
  CHECK(pool.stats().discarded == 1);
}

TEST_CASE_METHOD(fresh, "machines that stay idle are destroyed, but for the warm ones", "[pool]") {
  pool_type pool(image, {.warm = 1, .idle_timeout = 1ms});
  {
    std::vector<pool_type::lease> lent;
    for (int i = 0; i < 5; ++i) {
      auto one = pool.borrow();
      REQUIRE(one);
      lent.push_back(*std::move(one));
    }
    for (auto& each : lent) each.give_back(0);
  }
  await([&] { return pool.size() == 1; });
  CHECK(pool.stats().forgotten >= 4);
  CHECK(pool.stats().discarded == 0);
  CHECK(pool.stats().idle == 1);
  pool.configure({.idle_timeout = 1ms});
  await([&] { return scripted_machine::alive == 0; });
  // The thread that forgets sleeps for good now, and is there again when there is a machine.
  auto again = pool.borrow();
  REQUIRE(again);
  again->give_back(0);
  await([&] { return scripted_machine::alive == 0; });
}

TEST_CASE_METHOD(fresh, "a machine that is in use is not forgotten", "[pool]") {
  pool_type pool(image, {.idle_timeout = 1ms});
  auto busy = pool.borrow();
  REQUIRE(busy);
  auto idle = pool.borrow();
  REQUIRE(idle);
  idle->give_back(0);
  await([&] { return pool.stats().forgotten == 1; });
  std::this_thread::sleep_for(5ms);
  CHECK(scripted_machine::alive == 1);
  // Nor is one that runs a call now and then. Its thread keeps it, so that no other's is lent.
  scripted_machine* const mine = &**busy;
  busy->give_back(0);
  for (int i = 0; i < 3; ++i) {
    auto lent = pool.borrow();
    REQUIRE(lent);
    if (&**lent != mine) break;  // This thread was not run for a while.
    CHECK((*lent)->enter(1, {}));
    lent->give_back(0);
  }
}

TEST_CASE_METHOD(fresh, "a pool without a time to forget keeps its machines", "[pool]") {
  pool_type pool(image);
  auto lent = pool.borrow();
  REQUIRE(lent);
  lent->give_back(0);
  pool.configure({.idle_timeout = std::chrono::nanoseconds::max() - 1ns});  // Years.
  std::this_thread::sleep_for(5ms);
  CHECK(scripted_machine::alive == 1);
}

TEST_CASE_METHOD(fresh, "machines are made no faster than the pool may", "[pool]") {
  const auto policy = GENERATE(when_exhausted::wait, when_exhausted::create, when_exhausted::fail);
  pool_type pool(image, {.max = 2, .when_exhausted = policy, .made_per_second = 1});
  const auto crash = [&]() -> result<void> {
    auto lent = pool.borrow(20ms);
    if (!lent) return lent.error();
    (*lent)->abandon();
    lent->give_back(0);
    return {};
  };
  REQUIRE(crash());
  REQUIRE(crash());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) static_cast<void>(crash());
  const auto took = std::chrono::steady_clock::now() - begin;
  // The burst, and one in each whole second.
  CHECK(scripted_machine::created <= 2 + took / 1s + 1);
  const auto refused = pool.borrow(std::chrono::nanoseconds(1));
  if (!refused) {
    CHECK(refused.error().code ==
          (policy == when_exhausted::fail ? errc::pool_exhausted : errc::timed_out));
    if (policy == when_exhausted::fail) {
      CHECK(to_string(refused.error()).find("made_per_second") != std::string::npos);
    }
  }
}

TEST_CASE_METHOD(fresh, "a call that waits for leave takes a machine that comes back", "[pool]") {
  pool_type pool(image, {.max = 2, .made_per_second = 1});
  auto first = pool.borrow();
  auto second = pool.borrow();
  REQUIRE(first);
  REQUIRE(second);
  (*second)->abandon();
  second->give_back(0);
  // Two made, one place is free, but it may not be filled yet.
  std::atomic<bool> lent = false;
  std::jthread other([&] {
    auto third = pool.borrow();
    lent = third.has_value();
    if (third) third->give_back(0);
  });
  await_waits(pool, 1);
  first->give_back(0);
  other.join();
  CHECK(lent);
  CHECK(scripted_machine::created <= 3);
}

TEST_CASE_METHOD(fresh, "a call that waits for leave alone makes a machine in time", "[pool]") {
  pool_type pool(image, {.max = 1, .made_per_second = 50});
  for (int i = 0; i < 4; ++i) {
    auto lent = pool.borrow();
    REQUIRE(lent);
    (*lent)->abandon();
    lent->give_back(0);
  }
  CHECK(scripted_machine::created == 4);
  CHECK(pool.stats().waits >= 1);
  auto lent = pool.borrow();
  REQUIRE(lent);
  (*lent)->abandon();
  REQUIRE(lent->replace());
  CHECK(lent->waited() > 0ns);
}

TEST_CASE_METHOD(fresh, "a thread that waits for leave to warm a pool sleeps", "[pool]") {
  pool_type pool(image, {.max = 1, .warm = 1, .idle_timeout = 1ms, .made_per_second = 1});
  await([&] { return pool.stats().idle == 1; });
  auto lent = pool.borrow();
  REQUIRE(lent);
  (*lent)->abandon();
  lent->give_back(0);
  std::this_thread::sleep_for(5ms);  // The next sweep would be due.
  timespec before{};
  REQUIRE(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before) == 0);
  std::this_thread::sleep_for(300ms);
  timespec after{};
  REQUIRE(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after) == 0);
  const auto used =
      (after.tv_sec - before.tv_sec) * 1'000'000'000L + after.tv_nsec - before.tv_nsec;
  CHECK(used < 100'000'000);  // A third of what a thread that spins takes.
  await([&] { return pool.stats().idle == 1; });
}

TEST_CASE("a budget allows a burst and then a rate", "[pool]") {
  using clock = creation_budget::clock;
  creation_budget budget;
  const clock::time_point start{1h};
  for (int i = 0; i < 3; ++i) {
    CHECK(budget.next(3, 10) <= start);
    budget.spend(start, 10);
  }
  CHECK(budget.next(3, 10) == start + 100ms);
  CHECK(budget.next(3, 0) == clock::time_point{});
  budget.spend(start + 100ms, 10);
  CHECK(budget.next(3, 10) == start + 200ms);
  // After a pause it is as at the start, and not more than that.
  const auto later = start + 1h;
  for (int i = 0; i < 3; ++i) {
    CHECK(budget.next(3, 10) <= later);
    budget.spend(later, 10);
  }
  CHECK(budget.next(3, 10) > later);
  // Any number is a number.
  CHECK(creation_budget{}.next(0, SIZE_MAX) <= start);
  CHECK(creation_budget{}.next(SIZE_MAX, 1) <= start);
  creation_budget fast;
  fast.spend(start, SIZE_MAX);
  CHECK(fast.next(1, SIZE_MAX) == start + 1ns);
}

TEST_CASE_METHOD(fresh, "a pool keeps as many machines warm as it is to", "[pool]") {
  pool_type pool(image, {.warm = 3});
  await([&] { return pool.stats().idle == 3; });
  CHECK(scripted_machine::created == 3);
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    (*lent)->abandon();
    lent->give_back(0);
  }
  await([&] { return pool.stats().idle == 3; });
  CHECK(scripted_machine::created == 4);
  const auto stats = pool.stats();
  CHECK(stats.machines == 3);
  CHECK(stats.created == 4);
  CHECK(stats.discarded == 1);
  CHECK(stats.waits == 0);
}

TEST_CASE_METHOD(fresh, "no more machines are kept warm than there may be", "[pool]") {
  pool_type pool(image, {.max = 2, .warm = 5});
  await([&] { return pool.stats().idle == 2; });
  CHECK(pool.size() == 2);
}

TEST_CASE_METHOD(fresh, "a call waits for the machine that is being made for it", "[pool]") {
  door making;
  scripted_machine::when_created = [&] { making.pass(); };
  pool_type pool(image, {.max = 1, .warm = 1});
  await([&] { return making.arrived == 1; });
  SECTION("and has it") {
    std::thread other([&] {
      auto lent = pool.borrow();
      REQUIRE(lent);
      lent->give_back(0);
    });
    await_waits(pool, 1);
    making.let_all_pass();
    other.join();
    CHECK(scripted_machine::created == 1);
  }
  SECTION("and tries itself if it cannot be made") {
    scripted_machine::refusal = error{.code = errc::no_kvm};
    std::thread other([&] { CHECK(pool.borrow().error().code == errc::no_kvm); });
    await_waits(pool, 1);
    making.let_all_pass();
    other.join();
    await([&] { return pool.size() == 0; });
  }
  SECTION("as long as it has time") {
    CHECK(pool.borrow(1ms).error().code == errc::timed_out);
    making.let_all_pass();
  }
}

TEST_CASE_METHOD(fresh, "machines that cannot be made in the background are made when needed",
                 "[pool]") {
  const bool throws = GENERATE(false, true);
  std::atomic<int> tried = 0;
  scripted_machine::when_created = [&] { ++tried; };
  scripted_machine::throws = throws;
  if (!throws) scripted_machine::refusal = error{.code = errc::os_error};
  {
    pool_type pool(image, {.warm = 2});
    await([&] { return tried == 1; });
    // It does not try for ever.
    await([&] { return pool.size() == 0; });
  }
  CHECK(tried == 1);
}

TEST_CASE_METHOD(fresh, "machines can be made ahead, and destroyed when idle", "[pool]") {
  pool_type pool(image, {.max = 4});
  REQUIRE(pool.warm_up(3));
  CHECK(pool.size() == 3);
  REQUIRE(pool.warm_up(2));
  CHECK(pool.size() == 3);
  REQUIRE(pool.warm_up(100));
  CHECK(pool.size() == 4);
  {
    auto lent = pool.borrow();
    pool.trim(2);
    CHECK(pool.size() == 3);
    CHECK(scripted_machine::alive == 3);
    lent->give_back(0);
  }
  CHECK(pool.stats().idle == 3);
  pool.trim(5);
  CHECK(pool.size() == 3);
  pool.trim(0);
  CHECK(pool.size() == 0);
  CHECK(scripted_machine::alive == 0);
  CHECK(pool.stats().discarded == 0);
  scripted_machine::refusal = error{.code = errc::os_error, .detail = 7};
  CHECK(pool.warm_up(1).error().detail == 7);
  CHECK(pool.size() == 0);
}

TEST_CASE("machines are wiped in the background", "[pool]") {
  const fresh all;
  door wiping;
  pool_type pool(image, {.max = 2, .cleaning = cleaning::in_background});
  auto first = pool.borrow();
  auto second = pool.borrow();
  REQUIRE(first);
  REQUIRE(second);
  const auto* const at_second = &**second;
  const auto caller = std::this_thread::get_id();
  std::atomic<int> by_caller = 0;
  scripted_machine::when_restored = [&] {
    if (std::this_thread::get_id() == caller) {
      ++by_caller;
    } else {
      wiping.pass();
    }
  };
  first->give_back(11);
  await([&] { return wiping.arrived == 1; });
  CHECK(by_caller == 0);

  // While the pool's thread is busy, a caller who needs a machine wipes one itself.
  second->give_back(22);
  auto third = pool.borrow();
  REQUIRE(third);
  CHECK(&**third == at_second);
  CHECK((*third)->restored_bytes == 22);
  CHECK(by_caller == 1);
  // And if there is none, it waits for the one that is being wiped, whatever the policy.
  std::thread other([&] {
    auto lent = pool.borrow();
    REQUIRE(lent);
    CHECK((*lent)->restored_bytes == 11);
    CHECK((*lent)->restores == 1);
  });
  await_waits(pool, 1);
  wiping.let_all_pass();
  other.join();
  CHECK(scripted_machine::created == 2);
  await([&] { return pool.stats().cleaned == 1; });
  CHECK(pool.stats().cleaning_time > 0ns);
}

TEST_CASE_METHOD(fresh, "what the background cannot wipe it destroys", "[pool]") {
  pool_type pool(image, {.cleaning = cleaning::in_background});
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    (*lent)->abandon();
    lent->give_back(0);
  }
  await([&] { return pool.size() == 0; });
  CHECK(scripted_machine::alive == 0);
  CHECK(pool.stats().discarded == 1);
}

TEST_CASE_METHOD(fresh, "a pool ends only when every machine is back", "[pool]") {
  auto policy = GENERATE(when_exhausted::fail, when_exhausted::wait, when_exhausted::create);
  auto how = GENERATE(cleaning::on_return, cleaning::in_background);
  auto pool = std::make_unique<pool_type>(
      image, pool_options{.max = 2, .when_exhausted = policy, .cleaning = how});
  auto first = pool->borrow();
  auto second = pool->borrow();
  REQUIRE(first);
  REQUIRE(second);
  std::optional<result<pool_type::lease>> third;
  if (policy == when_exhausted::create) third.emplace(pool->borrow());
  std::thread waiter;
  std::atomic<bool> served = false;
  if (policy == when_exhausted::wait) {
    waiter = std::thread([&pool = *pool, &served] {
      auto lent = pool.borrow();
      served = lent.has_value();
      lent->give_back(0);
    });
    await_waits(*pool, 1);
  }
  std::atomic<bool> ending = false;
  std::atomic<bool> ended = false;
  std::thread destroyer([&] {
    ending = true;
    pool.reset();
    ended = true;
  });
  await([&] { return ending.load(); });
  std::this_thread::sleep_for(1ms);
  CHECK_FALSE(ended);
  if (third) (*third)->give_back(0);
  first->give_back(0);
  std::this_thread::sleep_for(1ms);
  CHECK_FALSE(ended);
  (*second)->abandon();
  second->give_back(0);
  destroyer.join();
  if (waiter.joinable()) waiter.join();
  CHECK(served == (policy == when_exhausted::wait));
  CHECK(scripted_machine::alive == 0);
}

TEST_CASE_METHOD(fresh, "a child of fork can leave a pool behind", "[pool]") {
  pool_type pool(image, {.warm = 1, .cleaning = cleaning::in_background});
  await([&] { return pool.stats().idle == 1; });
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);  // For a child that would hang.
    // With the pool's thread gone and its condition variable in use.
    pool.~pool_type();
    ::_exit(0);
  }
  REQUIRE(child > 0);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE_METHOD(fresh, "threads share every kind of pool without losing machines", "[pool]") {
  const auto policy = GENERATE(when_exhausted::fail, when_exhausted::wait, when_exhausted::create);
  const auto how = GENERATE(cleaning::on_return, cleaning::in_background);
  const std::size_t warm = GENERATE(0U, 2U);
  std::atomic<int> shared = 0;
  {
    pool_type pool(
        image,
        {.max = 3, .warm = warm, .when_exhausted = policy, .write_set_max = 50, .cleaning = how});
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          auto mine = pool.borrow(i % 5 == 0 ? 10us : 1s);
          if (!mine) continue;
          if ((*mine)->entered != 0) ++shared;
          (*mine)->entered = 1;
          if ((i + t) % 7 == 0) (*mine)->abandon();
          if ((i + t) % 11 == 0) (*mine)->written.resize(51);
          if ((i + t) % 13 == 0) pool.trim(1);
          (*mine)->entered = 0;
          if ((i + t) % 17 != 0) mine->give_back(0);
        }
      });
    }
    for (auto& thread : threads) thread.join();
    const auto stats = pool.stats();
    CHECK(stats.machines <= 3);
    CHECK(stats.created >= 1);
  }
  CHECK(shared == 0);
}
