// Who runs the guest of a session, and when: with a guest that is a loop of this program.
// SPDX-License-Identifier: MIT
#include <virtine/machine/session_thread.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t frame_offset = sizeof(x86::session_mailbox);

enum class job : std::uint64_t {
  add,
  ask,
  fault,
  leave,
  spin,
  answer_wrongly,
  answer_and_stay,
  answer_and_ask,  // After as long as a caller needs to see the answer.
  spin_on_second,  // Processor; on the first adds.
};

struct call_frame {
  job what;
  std::uint64_t value;
  std::uint64_t sum;
};

class processor_of_loop {
 public:
  void begin(const run_limits& limits) {
    why_ = errc{};
    until_ = limits.until;
    stop_ = limits.stop;
    runs_ = true;
  }
  void end() { runs_ = false; }
  [[nodiscard]] bool runs() const { return runs_; }
  bool move_deadline(std::chrono::steady_clock::time_point until) {
    if (!runs_) return false;
    until_ = until;
    return true;
  }
  void interrupt(errc why) {
    errc none{};
    if (runs_) why_.compare_exchange_strong(none, why);
  }
  result<void> check() {
    if (const errc why = why_; why != errc{}) return error{.code = why};
    if (stop_.stop_requested()) return error{.code = errc::cancelled};
    if (std::chrono::steady_clock::now() >= until_.load()) return error{.code = errc::timed_out};
    return {};
  }

  std::atomic<std::uint64_t> entries = 0;

 private:
  std::atomic<bool> runs_ = false;
  std::atomic<errc> why_ = errc{};
  std::stop_token stop_;
  std::atomic<std::chrono::steady_clock::time_point> until_{};
};

// A machine whose guest is the loop of x86/loops.hpp, in C++, around a function that adds up.
class machine_of_loop {
 public:
  std::span<std::byte> arguments() { return memory_; }
  [[nodiscard]] static guest_address arguments_address() { return guest_address{0x1000}; }
  [[nodiscard]] static std::uint32_t hypercall_number() { return 7; }

  result<void> take_second() {
    if (lacks_second) return error{.code = errc::os_error};
    return {};
  }
  void use_second(bool second) {
    if (second) std::this_thread::sleep_for(delay);
    changes_ = changes_ + 1;  // Not atomic: the sanitizer sees two threads at it.
    now_ = second ? &second_ : &first_;
  }
  processor_of_loop& second_runner() { return second_; }

  result<guest_exit> enter(std::uint64_t, const run_limits& limits) {
    now_->begin(limits);
    ++now_->entries;
    return stay(false);
  }
  result<guest_exit> resume() { return stay(true); }
  void abandon() { now_->end(); }

  [[nodiscard]] std::uint64_t self_run() const { return first_.entries; }
  [[nodiscard]] std::uint64_t stays() const { return second_.entries; }

  std::atomic<bool> lacks_second = false;
  std::chrono::milliseconds delay{};  // Before the second processor is entered.
  std::atomic<int> inside = 0;
  std::atomic<int> crowds = 0;

 private:
  template <class T>
  std::atomic_ref<T> word(std::size_t offset) {
    return std::atomic_ref(*reinterpret_cast<T*>(memory_.data() + offset));
  }

  result<guest_exit> stay(bool resumed) {
    if (++inside != 1) ++crowds;
    auto stopped = run(resumed);
    --inside;
    if (!stopped || *stopped == guest_exit::done) now_->end();
    return stopped;
  }

  result<guest_exit> run(bool resumed) {
    auto request = word<std::uint64_t>(offsetof(x86::session_mailbox, request));
    auto answer = word<std::uint64_t>(offsetof(x86::session_mailbox, answer));
    auto patience = word<std::uint32_t>(offsetof(x86::session_mailbox, patience));
    for (std::uint32_t looked = 0; looked == 0 || looked < patience.load();) {
      if (auto going_on = now_->check(); !going_on) return going_on.error();
      const std::uint64_t number = request.load(std::memory_order_acquire);
      if (number == answer.load()) {
        ++looked;
        // So that the guest waits for two milliseconds, in which others run on a busy machine.
        for (const auto end = std::chrono::steady_clock::now() + 500ns;
             std::chrono::steady_clock::now() < end;) {
        }
        continue;
      }
      looked = 0;
      auto* const frame = reinterpret_cast<call_frame*>(memory_.data() + frame_offset);
      switch (frame->what) {
        case job::ask:
          if (!std::exchange(resumed, true)) return guest_exit::hypercall;
          resumed = false;
          [[fallthrough]];
        case job::add:
          frame->sum = total_ += frame->value;
          break;
        case job::spin_on_second:
          if (now_ == &first_) {
            frame->sum = total_ += frame->value;
            break;
          }
          for (;;) {
            if (auto going_on = now_->check(); !going_on) return going_on.error();
          }
        case job::fault:
          return error{.code = errc::guest_fault};
        case job::leave:
          return guest_exit::done;
        case job::answer_wrongly:
          answer.store(number + 1);
          [[fallthrough]];
        case job::spin:
          for (;;) {
            if (auto going_on = now_->check(); !going_on) return going_on.error();
          }
        case job::answer_and_stay:
        case job::answer_and_ask: {
          const bool asks = frame->what == job::answer_and_ask;
          answer.store(number, std::memory_order_release);
          const auto begin = std::chrono::steady_clock::now();
          while (!asks || std::chrono::steady_clock::now() < begin + 300ms) {
            if (auto going_on = now_->check(); !going_on) return going_on.error();
          }
          return guest_exit::hypercall;
        }
      }
      answer.store(number, std::memory_order_release);
    }
    return guest_exit::done;
  }

  alignas(64) std::array<std::byte, 256> memory_{};
  processor_of_loop first_;
  processor_of_loop second_;
  processor_of_loop* now_ = &first_;
  std::uint64_t total_ = 0;
  int changes_ = 0;
};

class served_session final : session_server<machine_of_loop> {
 public:
  served_session() : calls_(std::in_place, guest, 0, frame_offset, server()) {}

  result<std::uint64_t> call(job what, std::uint64_t value, const run_limits& limits = {},
                             std::uint64_t hypercalls = 100) {
    if (auto usable = calls_->check_usable(); !usable) return usable.error();
    const call_frame frame{.what = what, .value = value, .sum = 0};
    std::memcpy(calls_->frame().data(), &frame, sizeof frame);
    auto called = calls_->call(limits, hypercalls);
    if (!called) return called.error();
    call_frame reply{};
    std::memcpy(&reply, calls_->frame().data(), sizeof reply);
    return reply.sum;
  }

  std::uint64_t add(std::uint64_t value) { return call(job::add, value).value_or(0); }

  void close() { calls_.reset(); }

  // Makes calls until the session's thread answers them; gives up in the end.
  bool hurry() {
    return make_way([&] {
      const std::uint64_t own = guest.self_run();
      add(0);
      return guest.self_run() == own;
    });
  }

  // Makes calls in a row, more each time, waits for the session's thread, and tries whether it
  // waits inside: it may have gone to sleep again meanwhile.
  template <class Try>
  bool make_way(const Try& has_come) {
    for (int in_a_row = 4; in_a_row <= 16'384; in_a_row *= 2) {
      for (int i = 0; i < in_a_row; ++i) add(0);
      for (int i = 0; i < 200 && guest.inside == 0; ++i) std::this_thread::sleep_for(100us);
      if (has_come()) return true;
    }
    return false;
  }

  machine_of_loop guest;
  std::atomic<int> served = 0;
  bool throws = false;

 private:
  session_server<machine_of_loop>& server() { return *this; }
  result<void> serve(machine_of_loop&, guest_exit) override {
    ++served;
    if (throws) throw std::runtime_error("enough");
    return {};
  }

  std::optional<session_thread<machine_of_loop>> calls_;
};

run_limits limit(std::chrono::nanoseconds time) {
  return {.until = deadline_after(time)};
}

// Makes a call that is to be answered by the session's thread, in a session that is new each time.
// Returns how the first one ended of which that is so.
template <class Call>
error by_thread(errc expected, const Call& call) {
  error last;
  for (int i = 0; i < 20; ++i) {
    served_session s;
    if (!s.hurry()) continue;
    const std::uint64_t own = s.guest.self_run();
    auto called = call(s);
    last = called ? error{} : called.error();
    if (s.guest.self_run() == own && last.code == expected) return last;
  }
  return last;
}

// Returns whether what returns true in new sessions takes less than `limit` once: not at each try,
// because a busy machine may have no time for it.
template <class What>
bool is_done_within(std::chrono::nanoseconds limit, const What& what) {
  for (int i = 0; i < 10; ++i) {
    served_session s;
    const auto begin = std::chrono::steady_clock::now();
    if (what(s) && std::chrono::steady_clock::now() - begin < limit) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a session's caller runs the guest itself after a pause", "[session]") {
  served_session s;
  // A pause is longer than any call was, and one may be long if its thread has to wait for a core.
  std::chrono::nanoseconds pause = 1ms;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    CHECK(s.add(1) == i);
    pause = std::max<std::chrono::nanoseconds>(pause, std::chrono::steady_clock::now() - begin);
    std::this_thread::sleep_for(pause);
  }
  CHECK(s.guest.self_run() == 20);
  CHECK(s.guest.stays() == 0);
}

TEST_CASE("calls in a row are answered by a session's thread, until there is a pause",
          "[session]") {
  served_session s;
  REQUIRE(s.hurry());
  const std::uint64_t own = s.guest.self_run();
  std::uint64_t calls = 0;
  for (; calls < 1000 && s.guest.self_run() == own; ++calls) {
    std::this_thread::sleep_for(5ms);
    CHECK(s.add(1) == calls + 1);
  }
  CHECK(s.guest.self_run() == own + 1);
  CHECK(s.hurry());
}

TEST_CASE("a session whose thread has no processor leaves all calls to the caller", "[session]") {
  served_session s;
  s.guest.lacks_second = true;
  CHECK_FALSE(s.hurry());
  CHECK(s.guest.self_run() > 10'000);
  CHECK(s.guest.stays() == 0);
}

TEST_CASE("a session fails alike whoever runs its guest", "[session]") {
  const auto check = [](errc expected, job what, std::chrono::nanoseconds time = 2s) {
    INFO(static_cast<int>(what));
    {
      served_session s;
      CHECK(s.call(what, 1, limit(time)).error().code == expected);
      CHECK(s.call(job::add, 1).error().code == expected);
    }
    CHECK(by_thread(expected, [&](served_session& s) {
            auto failed = s.call(what, 1, limit(time));
            if (!failed) CHECK(s.call(job::add, 1).error().code == failed.error().code);
            return failed;
          }).code == expected);
  };
  check(errc::guest_fault, job::fault);
  check(errc::bad_reply, job::leave);
  check(errc::timed_out, job::spin, 10ms);
  // Seen by the caller at once if it does not run the guest itself.
  CHECK(by_thread(errc::bad_reply, [](served_session& s) {
          return s.call(job::answer_wrongly, 1, limit(2s));
        }).code == errc::bad_reply);
}

TEST_CASE("a call's deadline holds if it comes while the session's thread is about to enter",
          "[session]") {
  CHECK(is_done_within(800ms, [](served_session& s) {
    s.guest.delay = 20ms;
    for (int in_a_row = 4; in_a_row <= 4096; in_a_row *= 2) {
      for (int i = 0; i <= in_a_row; ++i) {
        // In which the thread makes the guest its own, and is about to enter.
        if (i == in_a_row) std::this_thread::sleep_for(2ms);
        const auto called = s.call(job::spin_on_second, 1, limit(100ms));
        if (!called) return called.error().code == errc::timed_out;
      }
    }
    return false;
  }));
}

TEST_CASE("a stop request reaches a session's guest whoever runs it", "[session]") {
  CHECK(by_thread(errc::cancelled, [](served_session& s) {
          std::stop_source source;
          std::jthread stopper([&] {
            std::this_thread::sleep_for(1ms);
            source.request_stop();
          });
          return s.call(job::spin, 1, {.until = deadline_after(1h), .stop = source.get_token()});
        }).code == errc::cancelled);
}

TEST_CASE("a guest that answers and stays is ended after a second, or when its session closes",
          "[session]") {
  const auto stays = [](served_session& s) {
    return s.hurry() && s.call(job::answer_and_stay, 1, limit(5s)).has_value();
  };
  CHECK(is_done_within(3s, [&](served_session& s) {
    if (!stays(s)) return false;
    while (s.guest.second_runner().runs()) std::this_thread::sleep_for(1ms);
    CHECK(s.call(job::add, 1).error().code == errc::timed_out);
    return true;
  }));
  CHECK(is_done_within(800ms, [&](served_session& s) {
    const bool stayed = stays(s);
    s.close();
    return stayed;
  }));
}

TEST_CASE("a session's guest that asks for something when nobody has called it is ended",
          "[session]") {
  int seen = 0;
  for (int i = 0; i < 20 && seen < 1; ++i) {
    served_session s;
    if (!s.hurry() || !s.call(job::answer_and_ask, 1, limit(5s)) || s.served != 0) continue;
    ++seen;
    while (s.guest.second_runner().runs()) std::this_thread::sleep_for(1ms);
    CHECK(s.served == 0);
    CHECK(s.call(job::add, 1).error().code == errc::hypercall_denied);
  }
  CHECK(seen == 1);
}

TEST_CASE("a session's hypercalls are counted for each call, whoever runs its guest", "[session]") {
  served_session s;
  for (int i = 0; i < 20'000; ++i) {
    if (!s.call(job::ask, 1, {}, 1)) FAIL("call " << i);
  }
  CHECK(s.served == 20'000);
  CHECK(s.call(job::ask, 1, {}, 0).error().code == errc::hypercall_limit);
  CHECK(s.served == 20'000);
}

TEST_CASE("what a handler throws comes out of the call, whoever runs the guest", "[session]") {
  for (const bool hurried : {false, true}) {
    served_session s;
    if (hurried) s.hurry();
    s.throws = true;
    CHECK_THROWS_AS(s.call(job::ask, 1), std::runtime_error);
    CHECK(s.call(job::ask, 1).error().code == errc::machine_failure);
  }
}

TEST_CASE("64 sessions with random pauses lose no call, wherever they are called from",
          "[session]") {
  std::string why;
  std::atomic<int> wrong = 0;
  std::atomic<int> crowds = 0;
  std::atomic<std::uint64_t> stays = 0;
  std::vector<std::unique_ptr<served_session>> sessions(64);
  for (int round = 0; round < 2; ++round) {
    std::atomic<std::size_t> next = 0;
    std::vector<std::jthread> users;
    for (unsigned user = 0; user < 4; ++user) {
      users.emplace_back([&, user] {
        std::minstd_rand random(user + 4 * static_cast<unsigned>(round) + 1);
        for (std::size_t i = next++; i < sessions.size(); i = next++) {
          auto& s = sessions.at(i);
          std::uint64_t sum = 0;
          if (!s) s = std::make_unique<served_session>();
          sum = s->call(job::add, 0).value_or(0);
          for (int call = 0; call < 150; ++call) {
            const std::uint64_t value = random() % 1000;
            const job what = random() % 8 == 0 ? job::ask : job::add;
            sum += value;
            const auto called = s->call(what, value);
            wrong += called.value_or(~sum) != sum;
            if (!called) why = to_string(called.error());
            if (random() % 64 == 0) {
              std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
            }
          }
          if (random() % 4 == 0) {
            const bool spins = random() % 2 == 0;
            const auto failed = s->call(spins ? job::spin : job::fault, 0, limit(2ms));
            wrong += failed || (failed.error().code != errc::timed_out &&
                                failed.error().code != errc::guest_fault);
            if (!failed && failed.error().code != errc::timed_out &&
                failed.error().code != errc::guest_fault)
              why = to_string(failed.error());
          }
          crowds += s->guest.crowds.load();
          stays += s->guest.stays();
          if (random() % 2 == 0 || !s->call(job::add, 0)) s.reset();
        }
      });
    }
  }
  INFO(why);
  CHECK(wrong == 0);
  CHECK(crowds == 0);
  CHECK(stays > 0);
}
