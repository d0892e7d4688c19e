// The races between a call that ends and those who would stop it, each forced into its order, on a
// vCPU that is a page of memory and no more.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <virtine/runner.hpp>

#include "no_threads.hpp"

using namespace virtine;
using namespace std::chrono_literals;

namespace {

using clock_type = detail::monotonic;
constexpr auto never = run_gate::time_point::max();

kvm::vcpu make_vcpu() {
  return {kvm::fd{}, kvm::mapping::anonymous(3 * 4096).value()};
}

struct gated {
  kvm::vcpu cpu = make_vcpu();
  run_gate gate{cpu};

  bool exit_requested() { return cpu.state().immediate_exit != 0; }
};

void wait_until_interrupted(const run_gate& gate) {
  while (!gate.interrupted()) std::this_thread::sleep_for(1ms);
}

// Waits until a thread of this process sleeps in the kernel.
void wait_until_asleep(pid_t thread) {
  for (;;) {
    std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
    std::string text{std::istreambuf_iterator<char>(stat), {}};
    // The name in parentheses may hold anything; the state follows it.
    const auto at = text.rfind(") ");
    if (at != std::string::npos && text.substr(at + 2, 1) == "S") return;
    std::this_thread::sleep_for(1ms);
  }
}

// Runs `body` in a child process and returns its exit status, or 128 + the signal that ended it.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);  // For a child that would hang.
    ::_exit(body());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static_assert(!std::is_move_constructible_v<runner> && !std::is_copy_constructible_v<run_gate>);

}  // namespace

TEST_CASE("a call that nobody interrupts ends as if it were alone", "[deadline]") {
  gated it;
  for (int i = 0; i < 3; ++i) {
    it.gate.arm(never);
    CHECK_FALSE(it.gate.interrupted());
    CHECK_FALSE(it.exit_requested());
    CHECK(it.gate.disarm() == std::nullopt);
  }
}

TEST_CASE("an interruption before the call begins is none", "[deadline]") {
  gated it;
  it.gate.interrupt(errc::cancelled);
  CHECK_FALSE(it.exit_requested());
  CHECK_FALSE(it.gate.interrupted());
  it.gate.arm(never);
  CHECK(it.gate.disarm() == std::nullopt);
}

TEST_CASE("an interruption before KVM_RUN makes it return at once", "[deadline]") {
  gated it;
  it.gate.arm(never);
  it.gate.interrupt(errc::cancelled);
  CHECK(it.gate.interrupted());
  CHECK(it.exit_requested());
  CHECK(it.gate.disarm() == errc::cancelled);

  // And leaves nothing behind for the next call.
  CHECK_FALSE(it.exit_requested());
  CHECK_FALSE(it.gate.interrupted());
  it.gate.arm(never);
  CHECK(it.gate.disarm() == std::nullopt);
}

TEST_CASE("an interruption after the guest is done still counts", "[deadline]") {
  // Whoever interrupted may have been told so already.
  gated it;
  it.gate.arm(never);
  std::thread([&] { it.gate.interrupt(errc::timed_out); }).join();
  CHECK(it.gate.disarm() == errc::timed_out);
  CHECK_FALSE(it.exit_requested());
}

TEST_CASE("an interruption after the call has ended is none", "[deadline]") {
  gated it;
  it.gate.arm(never);
  CHECK(it.gate.disarm() == std::nullopt);
  it.gate.interrupt(errc::cancelled);
  CHECK_FALSE(it.exit_requested());
  CHECK_FALSE(it.gate.interrupted());
}

TEST_CASE("of two interruptions the first is the reason", "[deadline]") {
  gated it;
  it.gate.arm(clock_type::now() - 1s);
  it.gate.interrupt(errc::cancelled);
  it.gate.interrupt(errc::timed_out);
  CHECK(it.gate.check(clock_type::now()) == std::nullopt);
  CHECK(it.gate.disarm() == errc::cancelled);

  it.gate.arm(clock_type::now() - 1s);
  CHECK(it.gate.check(clock_type::now()) == std::nullopt);
  it.gate.interrupt(errc::cancelled);
  CHECK(it.gate.disarm() == errc::timed_out);
}

TEST_CASE("a check interrupts what is due and tells of what is not", "[deadline]") {
  gated it;
  const auto now = clock_type::now();
  CHECK(it.gate.check(now) == std::nullopt);

  it.gate.arm(now + 1h);
  CHECK(it.gate.check(now) == now + 1h);
  CHECK_FALSE(it.gate.interrupted());
  CHECK(it.gate.check(now + 1h) == std::nullopt);
  CHECK(it.gate.interrupted());
  CHECK(it.gate.disarm() == errc::timed_out);
  CHECK(it.gate.check(now + 2h) == std::nullopt);

  it.gate.arm(never);
  CHECK(it.gate.check(now) == never);
  CHECK(it.gate.disarm() == std::nullopt);
}

TEST_CASE("a deadline is moved while a call runs, and only then", "[deadline]") {
  gated it;
  const auto now = clock_type::now();
  CHECK_FALSE(it.gate.move(now));
  it.gate.arm(now + 1h);
  CHECK(it.gate.move(now + 2h));
  CHECK(it.gate.check(now + 1h) == now + 2h);
  CHECK(it.gate.move(now));
  CHECK(it.gate.check(now) == std::nullopt);
  CHECK(it.gate.interrupted());
  CHECK_FALSE(it.gate.move(now + 1h));
  CHECK(it.gate.disarm() == errc::timed_out);
  CHECK_FALSE(it.gate.move(now + 1h));
  it.gate.arm(never);
  CHECK(it.gate.disarm() == std::nullopt);
}

TEST_CASE("a deadline that others move all the time leaves the gate in order", "[deadline]") {
  gated it;
  std::atomic<bool> done = false;
  std::jthread mover([&] {
    const auto now = clock_type::now();
    for (int i = 0; !done; ++i) it.gate.move(now + 1h + std::chrono::seconds(i));
  });
  for (int i = 0; i < 2000; ++i) {
    it.gate.arm(never);
    if (i % 4 == 0) it.gate.interrupt(errc::cancelled);
    CHECK(it.gate.disarm() == (i % 4 == 0 ? std::optional(errc::cancelled) : std::nullopt));
  }
  done = true;
}

TEST_CASE("a deadline may lie anywhere in the past", "[deadline]") {
  gated it;
  const auto past = GENERATE(run_gate::time_point::min(), run_gate::time_point{},
                             run_gate::time_point{-1ns}, run_gate::time_point{1ns});
  it.gate.arm(past);
  CHECK_FALSE(it.gate.interrupted());
  CHECK(it.gate.check(clock_type::now()) == std::nullopt);
  CHECK(it.gate.interrupted());
  CHECK(it.gate.disarm() == errc::timed_out);
}

TEST_CASE("deadlines too far to count are never", "[deadline]") {
  CHECK(deadline_after(std::chrono::nanoseconds::max()) == never);
  const auto before = clock_type::now();
  CHECK(deadline_after(1h) >= before + 1h);
  const auto at_once = deadline_after(0ns);
  const auto after = clock_type::now();
  CHECK(at_once >= before);
  CHECK(at_once <= after);
  CHECK(deadline_after(-1h) < before);
  CHECK(deadline_after(std::chrono::nanoseconds::min()) < before);
}

TEST_CASE("the signal is one of nobody's, with a handler and without SA_RESTART", "[deadline]") {
  const int number = detail::interrupt_signal();
  CHECK(number == detail::interrupt_signal());
  // As another copy of the library in this process finds it.
  CHECK(number == detail::find_interrupt_signal());
  CHECK(number > SIGRTMIN);
  CHECK(number <= SIGRTMAX);
  struct sigaction action {};
  REQUIRE(::sigaction(number, nullptr, &action) == 0);
  CHECK(action.sa_handler != SIG_DFL);
  CHECK(action.sa_handler != SIG_IGN);
  CHECK((action.sa_flags & SA_RESTART) == 0);
}

TEST_CASE("an interruption ends the system call that the owner is in", "[deadline]") {
  gated it;
  std::atomic<pid_t> owner = 0;
  int outcome = 0;
  int why = 0;
  std::optional<errc> ended;
  std::thread thread([&] {
    // A program may have blocked all signals in its threads.
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    it.gate.arm(never);
    owner = ::gettid();
    outcome = ::poll(nullptr, 0, -1);  // In place of KVM_RUN.
    why = errno;
    ended = it.gate.disarm();
  });
  while (owner == 0) std::this_thread::yield();
  wait_until_asleep(owner);
  it.gate.interrupt(errc::cancelled);
  thread.join();
  CHECK(outcome == -1);
  CHECK(why == EINTR);
  CHECK(ended == errc::cancelled);
}

TEST_CASE("the signal does not outlast the call", "[deadline]") {
  gated it;
  int late = 0;
  int interrupted = 0;
  for (int i = 0; i < 100; ++i) {
    it.gate.arm(never);
    std::thread other([&] { it.gate.interrupt(errc::cancelled); });
    if (i % 2 == 0) wait_until_interrupted(it.gate);
    if (it.gate.disarm()) ++interrupted;
    // A system call of the program's own.
    if (::poll(nullptr, 0, 1) != 0) ++late;
    other.join();
    CHECK_FALSE(it.exit_requested());
  }
  CHECK(late == 0);
  CHECK(interrupted >= 50);
}

TEST_CASE("interruptions at any moment leave the gate in order", "[deadline]") {
  gated it;
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop) it.gate.interrupt(errc::cancelled);
  });
  std::thread watcher([&] {
    while (!stop) it.gate.check(clock_type::now());
  });
  int bad = 0;
  for (int i = 0; i < 2000; ++i) {
    it.gate.arm(i % 2 == 0 ? never : clock_type::now());
    const auto why = it.gate.disarm();
    if (why && *why != errc::cancelled && *why != errc::timed_out) ++bad;
    if (it.exit_requested() || it.gate.interrupted()) ++bad;
  }
  stop = true;
  other.join();
  watcher.join();
  CHECK(bad == 0);
}

TEST_CASE("the watchdog interrupts at the deadline and not before", "[deadline]") {
  gated it;
  watchdog dog;
  dog.add(it.gate);
  for (int i = 0; i < 3; ++i) {
    const auto until = clock_type::now() + 5ms;
    it.gate.arm(until);
    dog.expect(until);
    wait_until_interrupted(it.gate);
    CHECK(clock_type::now() >= until);
    CHECK(it.gate.disarm() == errc::timed_out);
  }
  dog.remove(it.gate);
}

TEST_CASE("the watchdog interrupts at a deadline that was moved nearer", "[deadline]") {
  gated it;
  watchdog dog;
  dog.add(it.gate);
  const auto far = clock_type::now() + 1h;
  it.gate.arm(far);
  dog.expect(far);
  const auto near = clock_type::now() + 2ms;
  REQUIRE(it.gate.move(near));
  dog.expect(near);
  wait_until_interrupted(it.gate);
  CHECK(clock_type::now() >= near);
  CHECK(it.gate.disarm() == errc::timed_out);
  dog.remove(it.gate);
}

TEST_CASE("a nearer deadline is not held up by a farther one", "[deadline]") {
  gated far;
  gated near;
  watchdog dog;
  dog.add(far.gate);
  dog.add(near.gate);
  const auto later = clock_type::now() + 1h;
  far.gate.arm(later);
  dog.expect(later);
  for (int i = 0; i < 3; ++i) {
    const auto until = clock_type::now() + 2ms;
    near.gate.arm(until);
    dog.expect(until);
    wait_until_interrupted(near.gate);
    CHECK(near.gate.disarm() == errc::timed_out);
  }
  CHECK_FALSE(far.gate.interrupted());
  CHECK(far.gate.disarm() == std::nullopt);
  dog.remove(near.gate);
  dog.remove(far.gate);
}

TEST_CASE("the watchdog misses no deadline among many calls", "[deadline]") {
  watchdog dog;
  std::atomic<int> timed_out = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      gated it;
      dog.add(it.gate);
      for (int i = 0; i < 30; ++i) {
        const auto until = clock_type::now() + std::chrono::microseconds(t * 300 + i * 20);
        it.gate.arm(until);
        dog.expect(until);
        if (i % 3 == 0) {
          it.gate.disarm();
          continue;
        }
        wait_until_interrupted(it.gate);
        if (it.gate.disarm() == errc::timed_out) ++timed_out;
      }
      dog.remove(it.gate);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(timed_out == 4 * 20);
}

TEST_CASE("the watchdog leaves a removed gate alone", "[deadline]") {
  gated removed;
  gated kept;
  watchdog dog;
  dog.add(removed.gate);
  dog.add(kept.gate);
  dog.remove(removed.gate);
  const auto until = clock_type::now() - 1s;
  removed.gate.arm(until);
  kept.gate.arm(until);
  dog.expect(until);
  wait_until_interrupted(kept.gate);
  CHECK_FALSE(removed.gate.interrupted());
  CHECK(removed.gate.disarm() == std::nullopt);
  CHECK(kept.gate.disarm() == errc::timed_out);
  dog.remove(kept.gate);
}

TEST_CASE("a process has one watchdog for as long as someone holds it", "[deadline]") {
  const auto first = watchdog::shared().value();
  CHECK(watchdog::shared().value() == first);
  std::shared_ptr<watchdog> elsewhere;
  std::thread([&] { elsewhere = watchdog::shared().value(); }).join();
  CHECK(elsewhere == first);
}

TEST_CASE("a watchdog that cannot be started is an error value", "[deadline]") {
  const no_threads now;
  const auto refused = watchdog::shared();
  REQUIRE_FALSE(refused);
  CHECK(refused.why().code == errc::kvm_call);
  CHECK(refused.why().os_error == EAGAIN);
}

TEST_CASE("a stop that was requested before the call keeps it out of the guest", "[deadline]") {
  runner it(make_vcpu(), watchdog::shared().value());
  std::stop_source source;
  source.request_stop();
  it.begin({.stop = source.get_token()});
  // Had it tried, the missing descriptor would have answered EBADF.
  const auto ran = it.run();
  REQUIRE_FALSE(ran);
  CHECK(ran.why().os_error == EINTR);
  CHECK(it.end().why().code == errc::cancelled);
  CHECK_FALSE(it.running());
}

TEST_CASE("a stop from this thread or another cancels the call", "[deadline]") {
  runner it(make_vcpu(), watchdog::shared().value());
  std::stop_source source;
  it.begin({.stop = source.get_token()});
  CHECK(it.run().why().os_error == EBADF);
  SECTION("this one, as a hypercall handler may") {
    source.request_stop();
  }
  SECTION("another") {
    std::thread([&] { source.request_stop(); }).join();
  }
  CHECK(it.run().why().os_error == EINTR);
  CHECK(it.end().why().code == errc::cancelled);

  // The source stays stopped, but concerns this call only.
  it.begin({});
  CHECK(it.run().why().os_error == EBADF);
  CHECK(it.end());
}

TEST_CASE("a stop after the call is nothing to it", "[deadline]") {
  runner it(make_vcpu(), watchdog::shared().value());
  std::stop_source source;
  it.begin({.stop = source.get_token()});
  CHECK(it.end());
  it.begin({});
  source.request_stop();
  CHECK(it.run().why().os_error == EBADF);
  CHECK(it.end());
}

TEST_CASE("a deadline in the past ends a call that begins", "[deadline]") {
  runner it(make_vcpu(), watchdog::shared().value());
  const auto until =
      GENERATE(as<run_gate::time_point>{}, run_gate::time_point::min(), clock_type::now());
  it.begin({.until = until});
  while (it.run().why().os_error != EINTR) std::this_thread::sleep_for(1ms);
  CHECK(it.end().why().code == errc::timed_out);
}

TEST_CASE("a runner may be destroyed in the middle of a call", "[deadline]") {
  std::stop_source source;
  {
    runner it(make_vcpu(), watchdog::shared().value());
    it.begin({.until = clock_type::now() + 1h, .stop = source.get_token()});
    CHECK(it.running());
  }
  // No callback is left that would touch it.
  CHECK(source.request_stop());
}

TEST_CASE("a child of fork can destroy what it inherited", "[deadline]") {
  gated it;
  auto dog = watchdog::shared().value();
  dog->add(it.gate);
  std::this_thread::sleep_for(20ms);  // Long enough for its thread to wait for something.
  CHECK(in_child([&] {
          dog->remove(it.gate);
          dog.reset();
          return 0;
        }) == 0);
  dog->remove(it.gate);
}

TEST_CASE("a child of fork can be interrupted", "[deadline]") {
  {
    gated before;
    before.gate.arm(never);
    CHECK(before.gate.disarm() == std::nullopt);
  }
  CHECK(in_child([] {
          gated it;
          const pid_t owner = ::gettid();
          it.gate.arm(never);
          std::thread other([&] {
            wait_until_asleep(owner);
            it.gate.interrupt(errc::cancelled);
          });
          const int outcome = ::poll(nullptr, 0, -1);  // In place of KVM_RUN.
          const int why = errno;
          const auto ended = it.gate.disarm();
          other.join();
          return outcome == -1 && why == EINTR && ended == errc::cancelled ? 0 : 1;
        }) == 0);
}

// ThreadSanitizer does not follow threads into a child.
#ifndef __SANITIZE_THREAD__
TEST_CASE("a child of fork has a watchdog of its own", "[deadline]") {
  const auto inherited = watchdog::shared().value();
  CHECK(in_child([&] {
          const auto mine = watchdog::shared().value();
          if (mine == inherited) return 1;
          gated it;
          mine->add(it.gate);
          const auto until = clock_type::now() + 1ms;
          it.gate.arm(until);
          mine->expect(until);
          wait_until_interrupted(it.gate);
          if (it.gate.disarm() != errc::timed_out) return 2;
          mine->remove(it.gate);
          return 0;
        }) == 0);
}
#endif
