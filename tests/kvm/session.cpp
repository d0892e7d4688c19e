// Sessions: guests that stay, the state that their calls share, and what ends them.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <guests/jobs.hpp>
#include <guests/jobs_types.hpp>
#include <virtine/virtine.hpp>

#include "host.hpp"
#include "no_threads.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using jobs = guests::jobs;
using job_policy = policy<allowed<question, std::function<int(tainted<int>)>>>;

template <class Sig, class Entry>
using job_fn = virtine_fn<Sig, Entry, job_policy>;

job_policy answering(std::function<int(tainted<int>)> handler) {
  return job_policy(allow<question>(std::move(handler)));
}

const job_policy unasked = answering([](tainted<int>) { return 0; });

std::set<std::string> threads() {
  std::set<std::string> found;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/task")) {
    found.insert(each.path().filename());
  }
  return found;
}

// Waits until the thread sleeps; gives up in the end.
bool comes_to_sleep(const std::string& thread) {
  for (int i = 0; i < 10'000; ++i) {
    std::ifstream file("/proc/self/task/" + thread + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return false;
    if (text.at(name_end + 2) == 'S') return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

template <class Session>
void check_ended(Session& s, errc why) {
  for (int i = 0; i < 3; ++i) {
    const auto refused = s.try_call(1);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == why);
  }
}

}  // namespace

TEST_CASE("a session without a thread for its guest says so at each call", "[session]") {
  job_fn<bool(int), jobs::is_even> is_even(unasked);
  REQUIRE(is_even.try_call(1).has_value());
  std::optional<session<bool(int), jobs::is_even, job_policy>> fast;
  {
    const no_threads now;
    fast.emplace(is_even);
  }
  for (int i = 0; i < 2; ++i) {
    const auto refused = fast->try_call(1);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::os_error);
    CHECK(refused.error().os_error == EAGAIN);
  }
  fast.reset();
  CHECK(is_even(42));
}

TEST_CASE("the calls of a session share one state, and nothing is left of it", "[session]") {
  pool<jobs> machines({.max = 1});
  job_fn<int(int), jobs::exchange> exchange(machines, unasked);
  for (int round = 1; round <= 3; ++round) {
    {
      session s(exchange);
      CHECK(machines.size() == 1);
      int before = 0;
      const int calls = is_emulated() ? 100 : 1000;
      for (int i = 1; i <= calls; ++i) {
        if (s(i * round) != before) FAIL("call " << i);
        before = i * round;
      }
    }
    CHECK(machines.size() == 1);
    CHECK(exchange(5) == 0);
  }
  job_fn<int(int), jobs::dirty> dirty(machines, unasked);
  for (int round = 0; round < 3; ++round) {
    session s(dirty);
    CHECK(s(40) == 0);
    CHECK(s(64) == 40);
    CHECK(s(0) == 64);
  }
  CHECK(dirty(0) == 0);
  CHECK(machines.size() == 1);
}

TEST_CASE("a session that is never called closes", "[session]") {
  pool<jobs> machines({.max = 1});
  job_fn<int(int), jobs::exchange> exchange(machines, unasked);
  for (int round = 0; round < 5; ++round) session s(exchange);
  CHECK(exchange(1) == 0);
  CHECK(machines.size() == 1);
}

TEST_CASE("spans and texts come and go in a session", "[session]") {
  pool<jobs> machines({.max = 2});
  job_fn<void(std::span<int>), jobs::negate> negate(machines, unasked);
  job_fn<std::uint64_t(std::string_view, std::uint64_t), jobs::length> length(machines, unasked);
  session flip(negate);
  session measure(length);
  std::vector<int> large(17'000);
  for (int i = 0; i < 200; ++i) {
    std::vector<int> values(static_cast<std::size_t>(i) * 7, i);
    flip(values);
    for (const int value : values) REQUIRE(value == -i);
    const std::string text(static_cast<std::size_t>(i) * 3, 'x');
    CHECK(measure(text, 2) == text.size() + 2);
    if (i % 50 == 0) {
      const error why = flip.try_call(large).error();
      CHECK(why.code == errc::arguments_too_large);
      CHECK(why.detail > jobs::description.arguments_size);
    }
  }
  job_fn<block(block), jobs::turned> turned(unasked);
  session turn(turned);
  block b;
  b.words[0] = 77;
  CHECK(turn(b).words[7] == 77);
}

TEST_CASE("a session's arguments are not there for the next call of the machine", "[session]") {
  pool<jobs> machines({.max = 1});
  job_fn<std::uint64_t(std::string_view, std::uint64_t), jobs::length> length(machines, unasked);
  const auto before = [&] {
    auto lent = machines.borrow().value();
    std::vector<std::byte> seen(lent->arguments().begin(), lent->arguments().end());
    lent.give_back(0);
    return seen;
  };
  const auto clean = before();
  {
    session s(length);
    s(std::string(50'000, 's'), 1);
    s(std::string(10, 't'), 1);
  }
  CHECK(before() == clean);
}

TEST_CASE("after a pause the caller runs a session's guest, and the session's thread sleeps",
          "[session]") {
  std::thread::id server;
  job_fn<int(int), jobs::ask> ask(answering([&](tainted<int>) {
    server = std::this_thread::get_id();
    return 1;
  }));
  const auto others = [&] {
    ask(1);  // The watchdog is there now.
    return threads();
  }();
  session s(ask);
  std::string mine;
  for (const std::string& each : threads()) {
    if (!others.contains(each)) mine = each;
  }
  REQUIRE(!mine.empty());
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 5; ++i) {
      std::this_thread::sleep_for(5ms);
      server = {};
      CHECK(s(1) == 1);
      CHECK(server == std::this_thread::get_id());
    }
    // In a row, until that thread comes. If there is one core only, it can have it in the pauses.
    const auto has_come = [&] { return server != std::this_thread::get_id(); };
    for (int calls = 4; calls <= 4096 && !has_come(); calls *= 2) {
      for (int i = 0; i < calls && !has_come(); ++i) {
        if (s(1) != 1) FAIL("call " << i);
      }
      if (has_come()) break;
      std::this_thread::sleep_for(calls * 8us);
      CHECK(s(1) == 1);
    }
    // It may have had no time where there is no core for it.
    if (has_free_core()) CHECK(server != std::this_thread::get_id());
    CHECK(comes_to_sleep(mine));
  }
}

TEST_CASE("hypercalls of a session are counted for each call, and served for as long as it lives",
          "[session]") {
  pool<jobs> machines({.max = 1});
  job_fn<int(int), jobs::ask> ask(machines, answering([&](tainted<int> n) {
                                    return n.verify([](int value) { return value * 10; });
                                  }));
  {
    session s(ask);
    for (int i = 0; i < 200; ++i) {
      if (s(i % 4) != 5 * (i % 4) * (i % 4 - 1)) FAIL("call " << i);
    }
    for (int i = 0; i < 50; ++i) {
      if (s.with({.hypercalls = 3})(3) != 30) FAIL("call " << i);
    }
    const auto many = s.with({.hypercalls = 3}).try_call(4);
    REQUIRE_FALSE(many);
    CHECK(many.error().code == errc::hypercall_limit);
    CHECK(many.error().detail == 3);
    check_ended(s, errc::hypercall_limit);
  }
  CHECK(machines.size() == 0);
  CHECK(ask(2) == 10);
}

TEST_CASE("two processors of a machine take turns in one state", "[session]") {
  const auto made = machine::create(jobs::description).value();
  const auto call = [&](bool second, std::uint64_t function, int n) {
    std::memcpy(made->arguments().data() + frame<int(int)>::offsets[0], &n, sizeof n);
    made->use_second(second);
    const auto stopped = made->enter(function, {.until = deadline_after(10s)});
    made->use_second(false);
    int reply = -1;
    if (stopped && *stopped == guest_exit::done) {
      std::memcpy(&reply, made->arguments().data(), sizeof reply);
    }
    return reply;
  };
  CHECK(call(false, jobs::exchange::address, 1) == 0);
  CHECK_FALSE(made->has_second());
  for (int round = 0; round < 2; ++round) {
    std::thread([&] {
      CHECK(made->take_second().has_value());
      CHECK(call(true, jobs::exchange::address, 2) == 1);
    }).join();
    CHECK(made->has_second());
    for (int i = 0; i < 20; ++i)
      CHECK(call(i % 3 == 0, jobs::exchange::address, i) == (i == 0 ? 2 : i - 1));
    CHECK(call(true, jobs::exchange::address, 1) == 19);
  }
  // First writes trap on either.
  for (int i = 0; i < 64; ++i) CHECK(call(i % 2 == 0, jobs::dirty::address, i + 1) == i);
  made->restore(64);
  for (const bool second : {true, false}) CHECK(call(second, jobs::dirty::address, 0) == 0);
  CHECK(call(true, jobs::exchange::address, 1) == 0);

  // And a deadline holds on the second.
  const std::uint64_t turns = UINT64_MAX;
  std::memcpy(made->arguments().data() + frame<int(std::uint64_t)>::offsets[0], &turns,
              sizeof turns);
  made->use_second(true);
  const auto late = made->enter(jobs::spin::address, {.until = deadline_after(1ms)});
  made->use_second(false);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::timed_out);
  CHECK(made->poisoned());
}

TEST_CASE("calls of a session with pauses between lose nothing, on one core or more", "[session]") {
  pool<jobs> machines({.max = 1});
  job_fn<int(int), jobs::exchange> exchange(machines, unasked);
  job_fn<int(int), jobs::dirty> dirty(machines, unasked);
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  for (const bool pinned : {false, true}) {
    if (pinned) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(static_cast<unsigned>(sched_getcpu()), &one);
      REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
    }
    std::minstd_rand random(7);
    for (int round = 0; round < 5; ++round) {
      session s(exchange);
      int before = 0;
      for (int i = 1; i <= 300; ++i) {
        if (s(i) != before) FAIL("call " << i);
        before = i;
        if (random() % 16 == 0) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
        }
      }
    }
    // First writes trap, whoever runs the guest.
    session s(dirty);
    int written = 0;
    for (int i = 0; i < 100; ++i) {
      const int pages = static_cast<int>(random() % 65);
      if (s(pages) != written) FAIL("call " << i);
      written = std::max(written, pages);
    }
  }
  CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
  CHECK(exchange(1) == 0);
  CHECK(dirty(0) == 0);
  CHECK(machines.size() == 1);
}

TEST_CASE("a handler that throws ends its session, and the caller learns of it", "[session]") {
  pool<jobs> machines;
  job_fn<int(int), jobs::ask> ask(
      machines, answering([](tainted<int>) -> int { throw std::runtime_error("enough"); }));
  {
    session s(ask);
    CHECK(s(0) == 0);
    CHECK_THROWS_WITH(s(1), "enough");
    check_ended(s, errc::machine_failure);
  }
  CHECK(machines.size() == 0);
}

TEST_CASE("a deadline ends the call and the session", "[session]") {
  pool<jobs> machines;
  job_fn<int(std::uint64_t), jobs::spin> spin(machines, unasked);
  for (int round = 0; round < 3; ++round) {
    {
      session s(spin);
      CHECK(s(1) == 1);
      CHECK(s.with({.timeout = 0ms}).try_call(1).error().code == errc::timed_out);
      CHECK(s.with({.timeout = std::chrono::nanoseconds::max()})(1) == 1);
      const auto late = s.with({.timeout = 20ms}).try_call(UINT64_MAX);
      REQUIRE_FALSE(late);
      CHECK(late.error().code == errc::timed_out);
      check_ended(s, errc::timed_out);
    }
    CHECK(machines.size() == 0);
  }
  // The first call of a session, which has to enter the guest, too.
  session s(spin);
  CHECK(s.with({.timeout = 20ms}).try_call(UINT64_MAX).error().code == errc::timed_out);
}

TEST_CASE("a deadline of one call is none of the next", "[session]") {
  job_fn<int(std::uint64_t), jobs::spin> spin(unasked);
  session s(spin);
  for (int i = 0; i < 3; ++i) {
    CHECK(s.with({.timeout = 2s})(1) == 1);
    std::this_thread::sleep_for(1ms * (i * 2));
    CHECK(s.with({.timeout = 60s})(is_emulated() ? 1'000'000 : 100'000'000) == 1);
  }
}

TEST_CASE("a stop request ends the call and the session", "[session]") {
  pool<jobs> machines;
  job_fn<int(std::uint64_t), jobs::spin> spin(machines, unasked);
  int ended = 0;
  for (int i = 0; i < 1000 && ended < 3; ++i) {
    session s(spin);
    if (i % 2 == 0) CHECK(s(1) == 1);
    std::stop_source source;
    std::jthread stopper([&] {
      std::this_thread::sleep_for(2ms);
      source.request_stop();
    });
    const auto stopped = s.with({.timeout = 1h, .stop = source.get_token()}).try_call(UINT64_MAX);
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().code == errc::cancelled);
    if (s.try_call(1)) continue;  // The request came before the call.
    check_ended(s, errc::cancelled);
    ++ended;
  }
  CHECK(ended == 3);
}

TEST_CASE("a call that is stopped before it begins costs no session", "[session]") {
  pool<jobs> machines;
  job_fn<int(std::uint64_t), jobs::spin> spin(machines, unasked);
  session s(spin);
  std::stop_source source;
  source.request_stop();
  for (int i = 0; i < 100; ++i) {
    CHECK(s.with({.stop = source.get_token()}).try_call(1).error().code == errc::cancelled);
    CHECK(s.with({.timeout = 0s}).try_call(1).error().code == errc::timed_out);
    CHECK(s(1) == 1);
  }
}

TEST_CASE("a fault ends the session and is reported as it is", "[session]") {
  pool<jobs> machines;
  job_fn<int(int, int), jobs::quotient> quotient(machines, unasked);
  // Run by the caller, and most likely by the session's thread.
  for (const int calls : {1, 200}) {
    session s(quotient);
    for (int i = 0; i < calls; ++i) {
      if (s(8, 2) != 4) FAIL("call " << i);
    }
    for (int i = 0; i < 2; ++i) {
      const auto failed = s.try_call(1, 0);
      REQUIRE_FALSE(failed);
      CHECK(failed.error().code == errc::guest_fault);
      CHECK(failed.error().fault.kind == fault_kind::divide_error);
    }
  }
  CHECK(machines.size() == 0);
  session s(quotient);
  CHECK(s(9, 3) == 3);
}

TEST_CASE("a session may go from thread to thread", "[session]") {
  pool<jobs> machines;
  job_fn<int(int), jobs::exchange> exchange(machines, unasked);
  auto s = std::make_unique<session<int(int), jobs::exchange, job_policy>>(exchange);
  int made = 0;
  int wrong = 0;
  const auto call = [&](int count) {
    for (int i = 0; i < count; ++i, ++made) wrong += (*s)(made + 1) != made;
  };
  for (const int count : {1, 50, 3}) {
    call(count);
    std::thread([&] { call(count); }).join();
  }
  std::thread([&] {
    call(20);
    s.reset();
  }).join();
  CHECK(wrong == 0);
  CHECK(machines.size() == 1);
  CHECK(exchange(5) == 0);
}

TEST_CASE("a session refuses a call while another one is under way", "[session]") {
  using asking = session<int(int), jobs::ask, job_policy>;
  asking* its = nullptr;
  int refused = 0;
  job_fn<int(int), jobs::ask> ask(answering([&](tainted<int>) {
    const auto other = its->try_call(0);  // On the session's own thread.
    refused += !other && other.error().code == errc::session_in_use;
    return 7;
  }));
  asking s(ask);
  its = &s;
  CHECK(s(2) == 14);
  CHECK(refused == 2);
  CHECK(s(0) == 0);
}

TEST_CASE("a session that cannot be opened says why at each call", "[session]") {
  pool<jobs> machines({.max = 1, .when_exhausted = when_exhausted::fail});
  job_fn<int(int), jobs::exchange> exchange(machines, unasked);
  session first(exchange);
  {
    session second(exchange);
    check_ended(second, errc::pool_exhausted);
  }
  CHECK(first(1) == 0);
}

TEST_CASE("sessions and calls of one function do not disturb each other", "[session]") {
  pool<jobs> machines;
  job_fn<int(int), jobs::exchange> exchange(machines, unasked);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> users;
    for (int user = 0; user < 3; ++user) {
      users.emplace_back([&, user] {
        for (int round = 0; round < 3; ++round) {
          session s(exchange);
          int before = 0;
          for (int i = 1; i <= 20; ++i) {
            wrong += s.try_call(1000 * user + i).value_or(-1) != before;
            before = 1000 * user + i;
            wrong += exchange.try_call(i).value_or(-1) != 0;
          }
        }
      });
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a child of fork cannot use its parent's session, and does not wait for it",
          "[session]") {
  job_fn<int(int), jobs::exchange> exchange(unasked);
  session s(exchange);
  CHECK(s(1) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(s.try_call(2).has_value() ? 1 : 42);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  CHECK(s(3) == 1);
}

#ifndef __SANITIZE_THREAD__  // Which lets no child of fork have threads.

TEST_CASE("a child of fork closes its parent's session and leaves threads of its own alone",
          "[session]") {
  job_fn<int(int), jobs::exchange> exchange(unasked);
  std::optional<session<int(int), jobs::exchange, job_policy>> open;
  open.emplace(exchange);
  CHECK((*open)(1) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // Most likely it gets the place of the session's thread, and so has the same handle.
    std::atomic<bool> closed = false;
    std::thread own([&] { closed.wait(false); });
    open.reset();
    closed = true;
    closed.notify_one();
    own.join();
    _exit(42);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
  CHECK((*open)(3) == 1);
}

#endif

TEST_CASE("a session takes many jobs as any function does", "[session]") {
  job_fn<int(int), jobs::exchange> exchange(unasked);
  {
    const session s(exchange);
    const std::array numbers{1, 2, 3};
    const auto each = s.each(numbers);
    REQUIRE(each.size() == 3);
    for (const auto& one : each) CHECK(one.has_value());
    CHECK(s.together(numbers).has_value());
    CHECK(s.with({.timeout = 0ns}).try_call(1).error().code == errc::timed_out);
    CHECK(s.try_call(1).has_value());
  }
  CHECK(exchange.pool().size() == 1);
}
