// Pools and the course of a call, on machines that play a script.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/bare_machine.hpp>
#include <virtine/virtine_fn.hpp>

#include "../scripted_machine.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr image_description image{};
using pool_type = basic_pool<scripted_machine>;
constexpr std::uint64_t hypercalls = 1000;  // As many as a call may make.

static_assert(pooled_machine<scripted_machine> && pooled_machine<machine>);
static_assert(pooled_machine<bare_machine> && !machine_like<int>);
static_assert(!std::is_copy_constructible_v<pool_type> && !std::is_move_constructible_v<pool_type>);
static_assert(std::is_move_constructible_v<pool_type::lease>);
static_assert(!std::is_copy_constructible_v<pool_type::lease>);

struct tick : hypercall<6, void()> {};
struct tock : hypercall<7, void()> {};

scripted_step calls(std::uint32_t number) {
  return {.outcome = guest_exit::hypercall, .hypercall = number, .frame = scripted_machine::base};
}
scripted_step fails(errc code) {
  return {.outcome = error{.code = code, .detail = 3}};
}

// Each test begins without machines and ends so.
struct fresh {
  fresh() { scripted_machine::forget(); }
  ~fresh() { CHECK(scripted_machine::alive == 0); }
};

}  // namespace

TEST_CASE_METHOD(fresh, "a machine that comes back is lent again", "[pool]") {
  pool_type pool(image);
  CHECK(pool.size() == 0);
  scripted_machine* first = nullptr;
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    first = &**lent;
    CHECK(&first->image() == &image);
    CHECK(pool.size() == 1);
    lent->give_back(123);
  }
  CHECK(pool.size() == 1);
  CHECK(first->restores == 1);
  CHECK(first->restored_bytes == 123);
  auto again = pool.borrow();
  REQUIRE(again);
  CHECK(&**again == first);
  CHECK(scripted_machine::created == 1);
}

TEST_CASE_METHOD(fresh, "a machine that does not come back is gone", "[pool]") {
  pool_type pool(image);
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    const auto moved = *std::move(lent);
    CHECK(pool.size() == 1);
  }
  CHECK(pool.size() == 0);
  CHECK(scripted_machine::alive == 0);
  CHECK(pool.borrow());
}

TEST_CASE_METHOD(fresh, "a poisoned machine is gone even if it comes back", "[pool]") {
  pool_type pool(image);
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    (*lent)->abandon();
    bool restored = false;
    scripted_machine::when_restored = [&] { restored = true; };
    lent->give_back(0);
    CHECK_FALSE(restored);  // Which would be work for nothing.
    CHECK(pool.size() == 0);
  }
  CHECK(pool.size() == 0);
  CHECK(scripted_machine::alive == 0);
}

TEST_CASE_METHOD(fresh, "a machine that cannot be restored is gone", "[pool]") {
  pool_type pool(image);
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    scripted_machine& guest = **lent;
    scripted_machine::when_restored = [&] { guest.abandon(); };
    lent->give_back(0);
  }
  CHECK(pool.size() == 0);
  CHECK(scripted_machine::alive == 0);
}

TEST_CASE_METHOD(fresh, "a pool lends as many machines as it may and no more", "[pool]") {
  pool_type pool(image, {.max = 2, .when_exhausted = when_exhausted::fail});
  auto first = pool.borrow();
  auto second = pool.borrow();
  REQUIRE(first);
  REQUIRE(second);
  const auto third = pool.borrow();
  REQUIRE_FALSE(third);
  CHECK(third.error().code == errc::pool_exhausted);
  CHECK(third.error().detail == 2);
  CHECK(scripted_machine::created == 2);

  SECTION("one that comes back can be lent") {
    first->give_back(0);
  }
  SECTION("one that is destroyed makes room for another") {
    (*first)->abandon();
    first->give_back(0);
  }
  const auto fourth = pool.borrow();
  CHECK(fourth);
  CHECK(pool.size() == 2);
}

TEST_CASE_METHOD(fresh, "a pool of none lends none", "[pool]") {
  // Nobody could ever bring one back that a call could wait for.
  for (auto policy : {when_exhausted::wait, when_exhausted::fail}) {
    pool_type pool(image, {.max = 0, .when_exhausted = policy});
    CHECK(pool.borrow().error().code == errc::pool_exhausted);
  }
}

TEST_CASE_METHOD(fresh, "the machine used last is lent first", "[pool]") {
  pool_type pool(image);
  auto first = pool.borrow();
  auto second = pool.borrow();
  const auto* last = &**second;
  first->give_back(0);
  second->give_back(0);
  CHECK(&**pool.borrow() == last);
}

TEST_CASE_METHOD(fresh, "a machine that cannot be made takes no place", "[pool]") {
  pool_type pool(image, {.max = 1});
  scripted_machine::refusal = error{.code = errc::no_kvm, .detail = 5};
  for (int i = 0; i < 3; ++i) {
    const auto refused = pool.borrow();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::no_kvm);
    CHECK(refused.error().detail == 5);
    CHECK(pool.size() == 0);
  }
  scripted_machine::refusal.reset();
  CHECK(pool.borrow());
}

TEST_CASE_METHOD(fresh, "a machine that there is no memory for takes no place", "[pool]") {
  pool_type pool(image, {.max = 1});
  scripted_machine::throws = true;
  const auto refused = pool.borrow();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::os_error);
  CHECK(refused.error().os_error == ENOMEM);
  CHECK(pool.size() == 0);
  scripted_machine::throws = false;
  CHECK(pool.borrow());
}

TEST_CASE_METHOD(fresh, "a lent machine can be replaced in its place", "[pool]") {
  pool_type pool(image, {.max = 1});
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    (*lent)->abandon();
    REQUIRE(lent->replace());
    CHECK_FALSE((*lent)->poisoned());
    CHECK(scripted_machine::created == 2);
    CHECK(scripted_machine::alive == 1);
    CHECK(pool.size() == 1);
    lent->give_back(0);
  }
  CHECK(pool.size() == 1);
  {
    auto lent = pool.borrow();
    REQUIRE(lent);
    scripted_machine::refusal = error{.code = errc::os_error, .detail = 5};
    const auto refused = lent->replace();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().detail == 5);
    CHECK(pool.size() == 0);
  }
  scripted_machine::refusal.reset();
  CHECK(pool.size() == 0);
  CHECK(pool.borrow());
}

TEST_CASE_METHOD(fresh, "a call that a machine does not enter is made on a new one, once",
                 "[pool]") {
  pool_type pool(image, {.max = 1});
  auto lent = pool.borrow();
  REQUIRE(lent);
  std::vector<errc> ends;
  const auto make = [&] {
    std::size_t calls = 0;
    return on_machine(*lent, {}, [&](scripted_machine&) -> result<std::size_t> {
      const std::size_t call = calls++;
      if (call < ends.size()) return error{.code = ends[call]};
      return calls;
    });
  };

  CHECK(make().value() == 1);
  CHECK(scripted_machine::created == 1);
  ends = {errc::guest_fault};  // Of this call's own function.
  CHECK(make().error().code == errc::guest_fault);
  CHECK(scripted_machine::created == 1);
  ends = {not_entered};
  CHECK(make().value() == 2);
  CHECK(scripted_machine::created == 2);
  ends = {not_entered, errc::guest_fault};
  CHECK(make().error().code == errc::guest_fault);
  CHECK(scripted_machine::created == 3);

  ends = {not_entered};
  scripted_machine::refusal = error{.code = errc::os_error, .detail = 5};
  CHECK(make().error().detail == 5);
  CHECK(pool.size() == 0);
}

TEST_CASE_METHOD(fresh, "threads share a pool without losing machines", "[pool]") {
  pool_type pool(image, {.max = 3, .when_exhausted = when_exhausted::fail});
  std::atomic<int> lent = 0;
  std::atomic<int> most = 0;
  std::atomic<int> refused = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        auto mine = pool.borrow();
        if (!mine) {
          ++refused;
          continue;
        }
        const int now = ++lent;
        int before = most;
        while (now > before && !most.compare_exchange_weak(before, now)) {
        }
        if ((i + t) % 7 == 0) (*mine)->abandon();
        --lent;
        mine->give_back(0);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(most <= 3);
  CHECK(most >= 1);
  CHECK(pool.size() <= 3);
  CHECK(scripted_machine::alive == static_cast<int>(pool.size()));
}

TEST_CASE_METHOD(fresh, "a call that needs nothing is entered once", "[pool][execute]") {
  const auto guest = *scripted_machine::create(image);
  deny_all none;
  REQUIRE(detail::execute(*guest, 0x20040, {}, hypercalls, none));
  CHECK(guest->entered == 0x20040);
  CHECK(guest->calls == 1);
  CHECK(guest->resumed == 0);
  CHECK(guest->until == interrupter::time_point::max());
  CHECK_FALSE(guest->stop_possible);
  CHECK_FALSE(guest->poisoned());
}

TEST_CASE_METHOD(fresh, "the limits of a call reach the machine", "[pool][execute]") {
  const auto guest = *scripted_machine::create(image);
  deny_all none;
  std::stop_source source;
  const auto before = detail::monotonic::now();
  const auto until = before + std::chrono::hours(1);
  REQUIRE(
      detail::execute(*guest, 0, {.until = until, .stop = source.get_token()}, hypercalls, none));
  CHECK(guest->until == until);
  CHECK(guest->stop_possible);
}

TEST_CASE_METHOD(fresh, "hypercalls are served until the function is done", "[pool][execute]") {
  scripted_machine::script = {calls(6), calls(7), calls(6)};
  const auto guest = *scripted_machine::create(image);
  std::string heard;
  policy rules{allow<tick>([&] { heard += "tick "; }), allow<tock>([&] { heard += "tock "; })};
  REQUIRE(detail::execute(*guest, 0, {}, hypercalls, rules));
  CHECK(heard == "tick tock tick ");
  CHECK(guest->resumed == 3);
  CHECK_FALSE(guest->abandoned);
}

TEST_CASE_METHOD(fresh, "a denied hypercall ends the call and the machine", "[pool][execute]") {
  scripted_machine::script = {calls(6), calls(9), calls(6)};
  const auto guest = *scripted_machine::create(image);
  int ticks = 0;
  policy rules{allow<tick>([&] { ++ticks; })};
  const auto denied = detail::execute(*guest, 0, {}, hypercalls, rules);
  REQUIRE_FALSE(denied);
  CHECK(denied.error().code == errc::hypercall_denied);
  CHECK(denied.error().detail == 9);
  CHECK(ticks == 1);
  CHECK(guest->resumed == 1);
  CHECK(guest->abandoned);
}

TEST_CASE_METHOD(fresh, "a rejected hypercall ends the call and the machine", "[pool][execute]") {
  scripted_machine::script = {calls(6)};
  const auto guest = *scripted_machine::create(image);
  policy rules{allow<tick>([]() -> answer<void> { return reject{}; })};
  CHECK(detail::execute(*guest, 0, {}, hypercalls, rules).error().code == errc::hypercall_rejected);
  CHECK(guest->resumed == 0);
  CHECK(guest->abandoned);
}

TEST_CASE_METHOD(fresh, "a call makes as many hypercalls as it may", "[pool][execute]") {
  scripted_machine::script.assign(5, calls(6));
  const auto guest = *scripted_machine::create(image);
  int ticks = 0;
  policy rules{allow<tick>([&] { ++ticks; })};
  const auto limit = GENERATE(0, 1, 4, 5, 6);
  const auto ran = detail::execute(*guest, 0, {}, static_cast<std::uint64_t>(limit), rules);
  CHECK(ticks == std::min(limit, 5));
  CHECK(ran.has_value() == (limit >= 5));
  CHECK(guest->abandoned == (limit < 5));
  if (!ran) {
    CHECK(ran.error().code == errc::hypercall_limit);
    CHECK(ran.error().detail == static_cast<std::uint64_t>(limit));
  }
}

TEST_CASE_METHOD(fresh, "an error of the machine is the call's", "[pool][execute]") {
  const auto code = GENERATE(errc::guest_fault, errc::timed_out, errc::cancelled,
                             errc::machine_failure, errc::os_error);
  const bool after_hypercall = GENERATE(false, true);
  if (after_hypercall) scripted_machine::script.push_back(calls(6));
  scripted_machine::script.push_back(fails(code));
  const auto guest = *scripted_machine::create(image);
  policy rules{allow<tick>([] {})};
  const auto ran = detail::execute(*guest, 0, {}, hypercalls, rules);
  REQUIRE_FALSE(ran);
  CHECK(ran.error().code == code);
  CHECK(ran.error().detail == 3);
  CHECK(guest->poisoned());
  CHECK_FALSE(guest->abandoned);
}

TEST_CASE_METHOD(fresh, "a handler that throws costs its machine and no more", "[pool][execute]") {
  scripted_machine::script = {calls(6)};
  pool_type pool(image);
  policy rules{allow<tick>([] { throw std::runtime_error("from the handler"); })};
  const auto call = [&] {
    auto lent = pool.borrow();
    static_cast<void>(detail::execute(**lent, 0, {}, hypercalls, rules));
    lent->give_back(0);
  };
  CHECK_THROWS_WITH(call(), "from the handler");
  CHECK(pool.size() == 0);
  CHECK(scripted_machine::alive == 0);
}

TEST_CASE_METHOD(fresh, "a guest's memory is zero for the next call", "[pool]") {
  scripted_machine::script = {{.act = [](scripted_machine& guest) {
    CHECK(guest.arguments()[5] == std::byte{0});
    guest.arguments()[5] = std::byte{9};
  }}};
  pool_type pool(image);
  deny_all none;
  for (int i = 0; i < 2; ++i) {
    auto lent = pool.borrow();
    REQUIRE(lent);
    REQUIRE(detail::execute(**lent, 0, {}, hypercalls, none));
    CHECK((*lent)->arguments()[5] == std::byte{9});
    lent->give_back(0);
  }
  CHECK(scripted_machine::created == 1);
}

TEST_CASE_METHOD(fresh, "a pool can be told to do otherwise", "[pool]") {
  pool_type pool(image, {.max = 1, .when_exhausted = when_exhausted::fail});
  auto first = pool.borrow();
  REQUIRE(first);
  CHECK(pool.borrow().error().code == errc::pool_exhausted);
  pool.configure({.max = 2, .when_exhausted = when_exhausted::wait});
  CHECK(pool.options().max == 2);
  auto second = pool.borrow();
  REQUIRE(second);
  const auto third = pool.borrow(std::chrono::milliseconds(1));
  REQUIRE_FALSE(third);
  CHECK(third.error().code == errc::timed_out);
  // It is told apart from a guest that ran too long.
  CHECK(third.error().operation == std::string("no machine of the pool became free"));
  // Fewer than there are: what is in use stays.
  pool.configure({.max = 1, .when_exhausted = when_exhausted::create});
  CHECK(pool.size() == 2);
  CHECK(pool.borrow());
  first->give_back(0);
  second->give_back(0);
  CHECK(pool.size() == 2);
  pool.trim(1);
  CHECK(pool.size() == 1);
}

TEST_CASE_METHOD(fresh, "a call that waits hears that there may be more machines", "[pool]") {
  pool_type pool(image, {.max = 1});
  auto first = pool.borrow();
  REQUIRE(first);
  std::thread other([&] { CHECK(pool.borrow()); });
  while (pool.stats().waits == 0) std::this_thread::yield();
  pool.configure({.max = 2});
  other.join();
  CHECK(pool.stats().created == 2);
}
