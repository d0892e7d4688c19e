// Attacks of a guest that stays: on its mailbox, by silence, by answers out of turn, while idle.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include <virtine/x86/loops.hpp>

#include "hostile.hpp"

using namespace hostile;
using namespace std::chrono_literals;
using virtine::errc;
namespace x86 = virtine::x86;

namespace {

struct empty_call : virtine::hypercall<7, void()> {};
struct count_up {
  std::atomic<int>* handled;
  std::atomic<std::thread::id>* handler;
  void operator()() const {
    ++*handled;
    *handler = std::this_thread::get_id();
  }
};
using counting = virtine::policy<virtine::allowed<empty_call, count_up>>;

const word request_word = where.arguments + offsetof(x86::session_mailbox, request);
const word answer_word = where.arguments + offsetof(x86::session_mailbox, answer);
const word function_word = where.arguments + offsetof(x86::session_mailbox, function);
const word frame_word = where.arguments + offsetof(x86::session_mailbox, frame);

// An attacker that stays, on the machines of an arena.
struct residence {
  arena a;
  std::atomic<int> handled = 0;
  std::atomic<std::thread::id> handler;
  virtine::virtine_fn<word(word, word, word, word), image::attack, counting> fn{
      a.pool, counting(virtine::allow<empty_call>(count_up{&handled, &handler}))};
  using session = virtine::session<word(word, word, word, word), image::attack, counting>;

  // In which what is not to come to an end shows.
  static std::chrono::milliseconds soon() { return is_emulated() ? 500ms : 100ms; }

  static virtine::result<word> call(session& s, std::string_view name, word one = 0, word two = 0,
                                    const virtine::call_options& options = {.timeout = soon()}) {
    return s.with(options).try_call(address_of(name), one, two, 0);
  }

  // Makes calls until the session's own thread runs the guest, which then waits inside for a
  // moment. Returns the number of the last one, or 0 if that thread does not come.
  word hurry(session& s) {
    word number = 0;
    const auto asks = [&] {
      ++number;
      return call(s, "hypercall", 7, where.arguments, {.timeout = 10s}).has_value();
    };
    const auto has_come = [&] { return handler.load() != std::this_thread::get_id(); };
    for (word in_a_row = 4; in_a_row <= 4096; in_a_row *= 2) {
      for (word i = 0; i < in_a_row; ++i) {
        if (!asks()) return 0;
        if (has_come()) return number;
      }
      // If there is one core only, that thread can have it now, and this one again before it
      // sleeps.
      std::this_thread::sleep_for(in_a_row * 8us);
      if (!asks()) return 0;
      if (has_come()) return number;
    }
    return 0;
  }

  // Has `attempt` make a call, of the number that it is given, in a session whose own thread waits
  // for it, and again until it returns true: the thread may have gone meanwhile. Fails if it never
  // does while there is a core for it.
  template <class Attempt>
  void attempt(const Attempt& attempt) {
    bool had_core = true;
    for (int i = 0; i < (is_emulated() ? 2 : 10); ++i) {
      had_core = has_free_core() && had_core;
      session s(fn);
      const word number = hurry(s);
      if (number != 0 && attempt(s, number + 1)) return;
    }
    if (had_core && has_free_core()) FAIL("the session's thread never ran the guest");
    WARN("not seen: the session's thread had no time; unit/session_thread.cpp has the same");
  }

  // The session has ended for `why`, and says so from now on.
  static void expect_ended(session& s, errc why) {
    for (int i = 0; i < 2; ++i) {
      const auto refused = call(s, "pause");
      REQUIRE_FALSE(refused);
      CHECK(refused.error().code == why);
    }
  }

  // An attack that ends its session; the next one and other calls are as they should be.
  void expect(errc why, std::string_view name, word one = 0, word two = 0) {
    INFO(name << std::hex << " 0x" << one << " 0x" << two);
    {
      session s(fn);
      CHECK(call(s, "pause").has_value());
      const auto ended = call(s, name, one, two);
      REQUIRE_FALSE(ended);
      CHECK(ended.error().code == why);
      expect_ended(s, why);
    }
    a.expect_good();
  }
};

std::ptrdiff_t thread_count() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// Waits until there are `count` threads; gives up in the end.
bool comes_to(std::ptrdiff_t count, std::chrono::seconds within) {
  const auto end = std::chrono::steady_clock::now() + within;
  while (thread_count() > count) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

}  // namespace

TEST_CASE("H54: a guest that overwrites its session's mailbox ends its session", "[hostile]") {
  residence r;
  // Call 2 is the attack. A request that it was not sent makes it answer what it was not asked.
  for (const word number : {word{0}, word{1}, word{3}, ~word{0}}) {
    residence::session s(r.fn);
    CHECK(residence::call(s, "pause"));
    const auto ended = residence::call(s, "write", request_word, number);
    REQUIRE_FALSE(ended);
    // Number 1 is the answer to the last call: the guest then has nothing to do.
    CHECK(ended.error().code == errc::bad_reply);
  }
  r.a.expect_good();
  // Seen at once by a caller that does not run the guest itself.
  r.attempt([](residence::session& s, word) {
    const auto ended = residence::call(s, "scribble_forever", answer_word, 1'000'000);
    REQUIRE_FALSE(ended);
    CHECK((ended.error().code == errc::bad_reply || ended.error().code == errc::timed_out));
    residence::expect_ended(s, ended.error().code);
    return ended.error().code == errc::bad_reply;
  });
  r.expect(errc::timed_out, "scribble_forever", answer_word, 1000);
  r.expect(errc::timed_out, "scribble_forever", function_word, 0);
  r.expect(errc::timed_out, "scribble_forever", frame_word, 0);
  // What the next call uses.
  for (const word where_to : {function_word, frame_word}) {
    for (const word value : {word{0}, where.tables, where.end, word{0xffffffff}}) {
      residence::session s(r.fn);
      CHECK(residence::call(s, "write", where_to, value));
      const auto ended = residence::call(s, "pause");
      REQUIRE_FALSE(ended);
      CHECK(ended.error().code == errc::guest_fault);
      residence::expect_ended(s, errc::guest_fault);
    }
    r.a.expect_good();
  }
  // Behind where the frame is, how long the loop is to wait: for ever.
  r.expect(errc::timed_out, "write", frame_word, ~word{0});
  // The host reads the result at its own place, whatever the guest was told.
  residence::session s(r.fn);
  CHECK(residence::call(s, "write", frame_word, zeros + 64));
  static_cast<void>(residence::call(s, "pause"));
}

TEST_CASE("H55: a guest that does not answer is ended at the deadline or by its caller",
          "[hostile]") {
  residence r;
  r.expect(errc::timed_out, "loop_forever");
  r.expect(errc::timed_out, "cpuid_forever");
  r.expect(errc::guest_fault, "undefined");
  r.expect(errc::guest_fault, "trap_flag_done");
  for (const char* name : {"done_at_once", "flags_done", "no_stack_done"}) {
    r.expect(errc::bad_reply, name);
  }
  CHECK(r.a.pool.size() == 1);
  std::stop_source source;
  residence::session s(r.fn);
  std::jthread stopper([&] {
    std::this_thread::sleep_for(5ms);
    source.request_stop();
  });
  const auto ended =
      residence::call(s, "loop_forever", 0, 0, {.timeout = 1h, .stop = source.get_token()});
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == errc::cancelled);
  // The same, whoever runs the guest.
  for (const auto& [why, name] :
       {std::pair{errc::timed_out, "loop_forever"}, std::pair{errc::guest_fault, "undefined"},
        std::pair{errc::bad_reply, "done_at_once"}}) {
    r.attempt([&, why = why, name = name](residence::session& hurried, word) {
      CHECK(residence::call(hurried, name).error().code == why);
      residence::expect_ended(hurried, why);
      return true;
    });
  }
  r.a.expect_good();
}

TEST_CASE("H56: a guest that answers and does not go back is ended, called or not", "[hostile]") {
  residence r;
  // Of a caller that runs it, within the call.
  r.expect(errc::timed_out, "write_and_stay", answer_word, 2);
  r.attempt([](residence::session& s, word number) {
    if (!residence::call(s, "write_and_stay", answer_word, number)) return false;
    CHECK(residence::call(s, "pause").error().code == errc::timed_out);
    residence::expect_ended(s, errc::timed_out);
    return true;
  });
  r.a.expect_good();
  r.attempt([](residence::session& s, word number) {
    const auto threads = thread_count();
    if (!residence::call(s, "write_and_stay", answer_word, number, {.timeout = 3s})) return false;
    REQUIRE(comes_to(threads - 1, 10s));
    CHECK(residence::call(s, "pause", 0, 0, {.timeout = 1h}).error().code == errc::timed_out);
    return true;
  });
  r.a.expect_good();
  // Closing does not wait for it either.
  r.attempt([](residence::session& s, word number) {
    return residence::call(s, "write_and_stay", answer_word, number).has_value();
  });
  r.a.expect_good();
}

TEST_CASE("H57: no hypercall is served but during a call", "[hostile]") {
  residence r;
  r.attempt([&](residence::session& s, word number) {
    const auto threads = thread_count();
    const int before = r.handled;
    if (!residence::call(s, "write_and_ask", answer_word, number, {.timeout = 4s})) return false;
    // A caller that does not run for long enough sees the answer after the hypercall.
    const bool in_time = r.handled == before;
    REQUIRE(comes_to(threads - 1, 60s));
    CHECK((r.handled == before || !in_time));
    const auto after = residence::call(s, "pause");
    REQUIRE_FALSE(after);
    // A slow guest may be ended, as one that does not go to sleep, before it asks.
    if (!in_time || after.error().code == errc::timed_out) return is_emulated();
    CHECK(after.error().code == errc::hypercall_denied);
    CHECK(after.error().detail == 7);
    return true;
  });
  r.a.expect_good();
  r.expect(errc::hypercall_denied, "hypercall", 8, where.arguments);
  r.handled = 0;
  residence::session s(r.fn);
  const auto flooded = s.with({.hypercalls = 50}).try_call(address_of("flood"), 0, 0, 7);
  REQUIRE_FALSE(flooded);
  CHECK(flooded.error().code == errc::hypercall_limit);
  CHECK(r.handled == 50);
}

TEST_CASE("H58: nothing is left of a session for the next call of its machine", "[hostile]") {
  residence r;
  const word pattern = 0xa5a5a5a5a5a5a5a5;
  for (int round = 0; round < 3; ++round) {
    {
      residence::session s(r.fn);
      REQUIRE(residence::call(s, "spoil", 0, pattern));
      for (word at = data; at < where.guard; at += 4096) {
        REQUIRE(residence::call(s, "write", at + 4088, pattern));
      }
      // Within a session it is there: that is what a session gives up.
      CHECK(residence::call(s, "read", data + 4088).value() == pattern);
    }
    CHECK(r.a.pool.size() == 1);
    r.a.expect_good();
    for (const word address : {data + 4088, zeros, where.arguments + 4088, where.guard - 8}) {
      const auto found = r.a.run("read", address);
      REQUIRE(found);
      CHECK(*found != pattern);
    }
  }
}

TEST_CASE("H59: what the host checks of a reply is what the caller gets, while the guest goes on",
          "[hostile][long]") {
  arena a;
  virtine::virtine_fn<void(std::span<bool>, unsigned char), image::flip> flip(a.pool);
  int seen = 0;
  int given = 0;
  const int rounds = is_emulated() ? 3 : 20;
  int in_a_row = 4;
  for (int round = 0; round < 2 * rounds && seen < rounds; ++round) {
    virtine::session s(flip);
    std::array<bool, 4096> all{};
    // As hurry(), but no hypercall tells whether it has worked.
    for (int i = 0; i < in_a_row; ++i) REQUIRE(s.try_call(all, 0));
    // With a core of its own the thread waits inside now, and would sleep if no call came.
    if (is_emulated()) std::this_thread::sleep_for(in_a_row * 8us);
    const auto ended = s.with({.timeout = 200ms}).try_call(all, 1);
    if (!ended && ended.error().code == errc::timed_out) {  // Run by the caller.
      in_a_row = std::min(2 * in_a_row, 4096);
      continue;
    }
    ++seen;
    given += ended.has_value();
    if (!ended) CHECK(ended.error().code == errc::bad_reply);
    unsigned char last = 0;
    std::memcpy(&last, &all.back(), 1);
    CHECK(last <= 1);
  }
  INFO(given << " of " << seen << " were good when they were read");
  if (has_free_core()) CHECK(seen != 0);
  a.expect_good();
}

TEST_CASE("H60: a session's guest may jump into any part of the loops", "[hostile]") {
  residence r;
  const word step = is_emulated() ? 17 : 3;
  for (word at = x86::batch_offset; at < x86::loops_end; at += step) {
    INFO(at);
    residence::session s(r.fn);
    const auto ended =
        residence::call(s, "jump_to", x86::trampoline_page + at, 0, {.timeout = 20ms});
    if (!ended) CHECK(virtine::blame_of(ended.error().code) != virtine::blame::host);
  }
  r.a.expect_good();
}
