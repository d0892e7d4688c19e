// The races between a call that ends and those who would stop it, each forced into its order, on a
// vCPU that is a page of memory and no more.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include <virtine/call_options.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/os/workers.hpp>

#include "no_threads.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace virtine::os;
using namespace std::chrono_literals;

namespace {

using clock_type = detail::monotonic;
constexpr auto never = interrupter::time_point::max();

kvm::vcpu make_vcpu() {
  return {os::fd{}, os::mapping::anonymous(3 * 4096).value()};
}

// Whether the host can read the page.
bool is_there(std::span<const std::byte> page) {
  // Sound: the kernel looks at it as the name of a file, and answers EFAULT if it cannot.
  return ::access(reinterpret_cast<const char*>(page.data()), F_OK) == 0 || errno != EFAULT;
}

struct gated {
  os::mapping memory = os::mapping::anonymous(2 * 4096).value();
  interrupter gate{{.memory = memory.bytes()}};

  // Whether a guest could not go on.
  bool stopped() { return !is_there(memory.bytes().last(4096)); }
};

// Has the kernel refuse a range that does not begin with a page, as this one never does.
struct refused {
  alignas(32) std::byte before[16]{};
  std::byte odd[16]{};
  interrupter gate{{.memory = odd}};
};

struct running {
  os::mapping memory = os::mapping::anonymous(4096).value();
  runner it{make_vcpu(), watchdog::shared().value(), {.memory = memory.bytes()}};
  runner* operator->() { return &it; }
};

// What the gate has of a deadline: it spares a bit.
interrupter::time_point rounded(interrupter::time_point until) {
  const auto count = until.time_since_epoch().count();
  return interrupter::time_point{interrupter::time_point::duration{(count - 1) | 1}};
}

void wait_until_interrupted(const interrupter& gate) {
  while (!gate.interrupted()) std::this_thread::sleep_for(1ms);
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

static_assert(!std::is_move_constructible_v<runner> && !std::is_copy_constructible_v<interrupter>);

}  // namespace

TEST_CASE("a call that nobody interrupts ends as if it were alone", "[deadline]") {
  gated it;
  for (int i = 0; i < 3; ++i) {
    it.gate.arm(never);
    CHECK_FALSE(it.gate.interrupted());
    CHECK_FALSE(it.stopped());
    CHECK(it.gate.disarm() == std::nullopt);
  }
}

TEST_CASE("an interruption before the call begins is none", "[deadline]") {
  gated it;
  it.gate.interrupt(errc::cancelled);
  CHECK_FALSE(it.stopped());
  CHECK_FALSE(it.gate.interrupted());
  it.gate.arm(never);
  CHECK(it.gate.disarm() == std::nullopt);
}

TEST_CASE("an interruption takes away what the guest stands on until the call ends", "[deadline]") {
  gated it;
  it.gate.arm(never);
  it.gate.interrupt(errc::cancelled);
  CHECK(it.gate.interrupted());
  CHECK(it.stopped());
  CHECK(it.gate.disarm() == errc::cancelled);

  // And leaves nothing behind for the next call.
  CHECK_FALSE(it.stopped());
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
  CHECK_FALSE(it.stopped());
}

TEST_CASE("an interruption after the call has ended is none", "[deadline]") {
  gated it;
  it.gate.arm(never);
  CHECK(it.gate.disarm() == std::nullopt);
  it.gate.interrupt(errc::cancelled);
  CHECK_FALSE(it.stopped());
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
  CHECK(it.gate.check(now) == rounded(now + 1h));
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
  CHECK(it.gate.check(now + 1h) == rounded(now + 2h));
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
  const auto past = GENERATE(interrupter::time_point::min(), interrupter::time_point{},
                             interrupter::time_point{-1ns}, interrupter::time_point{1ns});
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

TEST_CASE("an owner that is out of the guest keeps its memory", "[deadline]") {
  gated it;
  it.gate.arm(never);
  REQUIRE(it.gate.step_out());
  it.gate.interrupt(errc::cancelled);
  CHECK(it.gate.interrupted());
  CHECK_FALSE(it.stopped());
  CHECK_FALSE(it.gate.step_in());
  CHECK_FALSE(it.stopped());
  CHECK(it.gate.disarm() == errc::cancelled);

  it.gate.arm(clock_type::now() - 1s);
  REQUIRE(it.gate.step_out());
  CHECK(it.gate.check(clock_type::now()) == std::nullopt);
  CHECK_FALSE(it.stopped());
  CHECK(it.gate.disarm() == errc::timed_out);

  it.gate.arm(never);
  REQUIRE(it.gate.step_out());
  REQUIRE(it.gate.step_in());
  it.gate.interrupt(errc::cancelled);
  CHECK(it.stopped());
  CHECK_FALSE(it.gate.step_out());
  CHECK_FALSE(it.stopped());
  CHECK(it.gate.disarm() == errc::cancelled);
}

TEST_CASE("a deadline is moved inside the guest and out of it", "[deadline]") {
  gated it;
  const auto now = clock_type::now();
  it.gate.arm(never);
  REQUIRE(it.gate.step_out());
  REQUIRE(it.gate.move(now));
  CHECK(it.gate.check(now) == std::nullopt);
  CHECK_FALSE(it.stopped());
  CHECK(it.gate.disarm() == errc::timed_out);

  it.gate.arm(never);
  REQUIRE(it.gate.step_out());
  REQUIRE(it.gate.step_in());
  REQUIRE(it.gate.move(now));
  CHECK(it.gate.check(now) == std::nullopt);
  CHECK(it.stopped());
  CHECK(it.gate.disarm() == errc::timed_out);
}

TEST_CASE("an owner that leaves waits for who takes its memory away, and has it back",
          "[deadline]") {
  gated it;
  std::atomic<bool> done = false;
  std::thread other([&] {
    while (!done) it.gate.interrupt(errc::cancelled);
  });
  // Each store would be a fault of the host's if the memory were not there. They go on for longer
  // than it takes to take the memory away.
  volatile std::byte* const memory = it.memory.bytes().data();
  const auto use_memory = [&] {
    for (int i = 0; i < 4096; ++i) memory[i] = std::byte{1};
  };
  int interrupted = 0;
  for (int i = 0; i < 2000 || interrupted < 20; ++i) {
    it.gate.arm(never);
    if (i % 3 == 0) std::this_thread::yield();
    const bool goes_on = it.gate.step_out();
    use_memory();
    if (!goes_on || !it.gate.step_in()) use_memory();
    if (it.gate.disarm()) ++interrupted;
    use_memory();
  }
  done = true;
  other.join();
  CHECK(interrupted > 0);
  CHECK_FALSE(it.stopped());
}

// Not with ThreadSanitizer, which needs memory of its own after the limit is reached.
#ifndef __SANITIZE_THREAD__
TEST_CASE("a limit of data that is reached meanwhile leaves the owner some memory", "[deadline]") {
  CHECK(in_child([] {
          auto memory = os::mapping::guarded(16 * 4096).value();
          interrupter gate{{.memory = memory.bytes()}};
          gate.arm(never);
          gate.interrupt(errc::cancelled);
          const rlimit none{0, 0};
          if (::setrlimit(RLIMIT_DATA, &none) != 0) return 1;
          if (gate.disarm() != errc::cancelled) return 2;
          memory.bytes()[0] = std::byte{1};
          return memory.bytes()[16 * 4096 - 1] == std::byte{0} ? 0 : 3;
        }) == 0);
}
#endif

TEST_CASE("CPU time is taken for a thread's own, however late it is", "[deadline]") {
  gated it;
  // A thread that sleeps uses none.
  const auto first_look = it.gate.limit_cpu(50ms, never);
  CHECK(first_look < clock_type::now() + 60ms);
  it.gate.arm(first_look);
  std::this_thread::sleep_for(60ms);
  const auto now = clock_type::now();
  const auto again = it.gate.check(now);
  REQUIRE(again);
  CHECK(*again > now);
  CHECK(*again <= now + 50ms);
  CHECK_FALSE(it.stopped());
  // It is another thread that looks.
  std::thread([&] { CHECK(it.gate.check(*again - 1ms).has_value()); }).join();
  const cpu_clock mine;
  for (const auto until = mine.now() + 50ms; mine.now() < until;) {
  }
  std::thread([&] { CHECK(it.gate.check(clock_type::now() + 50ms) == std::nullopt); }).join();
  CHECK(it.stopped());
  CHECK(it.gate.disarm() == errc::cpu_limit);
  // The next call has no such limit.
  it.gate.arm(clock_type::now());
  CHECK(it.gate.check(clock_type::now() + 1ms) == std::nullopt);
  CHECK(it.gate.disarm() == errc::timed_out);
}

TEST_CASE("a call with a limit of CPU time has its deadline as well", "[deadline]") {
  gated it;
  const auto until = clock_type::now() + 10ms;
  it.gate.arm(it.gate.limit_cpu(1h, until));
  CHECK(it.gate.check(until - 1ms).has_value());
  CHECK_FALSE(it.stopped());
  CHECK(it.gate.check(until + 1ms) == std::nullopt);
  CHECK(it.gate.disarm() == errc::timed_out);
  it.gate.arm(it.gate.limit_cpu(std::chrono::nanoseconds::max() - 1ns, never));
  CHECK(it.gate.check(clock_type::now()).has_value());
  it.gate.interrupt(errc::cancelled);
  CHECK(it.gate.disarm() == errc::cancelled);
}

TEST_CASE("calls that are watched and use up CPU time end by it", "[deadline]") {
  running it;
  const cpu_clock mine;
  const auto begin = mine.now();
  it->begin({.cpu_time = 5ms});
  while (it->step_out()) {
  }
  CHECK(mine.now() - begin >= 5ms);
  CHECK(it->end().error().code == errc::cpu_limit);
}

TEST_CASE("an interruption that the kernel refuses is told, and made up for", "[deadline]") {
  refused it;
  it.gate.arm(never);
  CHECK_FALSE(it.gate.interrupt(errc::cancelled));
  CHECK_FALSE(it.gate.interrupted());
  // The call is now over for the watchdog, which looks again and again.
  const auto now = clock_type::now();
  CHECK(it.gate.check(now).value() > now);
  os::mapping memory = os::mapping::anonymous(4096).value();
  it.gate.stand_on({.memory = memory.bytes()});
  CHECK(it.gate.check(now) == std::nullopt);
  CHECK_FALSE(is_there(memory.bytes()));
  CHECK(it.gate.disarm() == errc::cancelled);
  CHECK(is_there(memory.bytes()));

  refused late;
  late.gate.arm(now);
  CHECK(late.gate.check(now).value() > now);
  late.gate.stand_on({.memory = memory.bytes()});
  CHECK(late.gate.check(now) == std::nullopt);
  CHECK(late.gate.disarm() == errc::timed_out);
}

TEST_CASE("a call that could not be interrupted ends well if its guest ends", "[deadline]") {
  refused it;
  it.gate.arm(never);
  CHECK_FALSE(it.gate.interrupt(errc::cancelled));
  CHECK(it.gate.disarm() == std::nullopt);
  it.gate.arm(never);
  CHECK(it.gate.check(clock_type::now()) == never);
  CHECK(it.gate.disarm() == std::nullopt);
}

TEST_CASE("the watchdog makes up for who was refused", "[deadline]") {
  // The kernel refuses to protect what is not there.
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
  // In the middle of a hole so large that nobody else, such as a sanitizer, gets there meanwhile.
  constexpr std::size_t hole = std::size_t{1} << 30;
  void* const begin = ::mmap(nullptr, hole, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
  REQUIRE(begin != MAP_FAILED);
  REQUIRE(::munmap(begin, hole) == 0);
  std::byte* const at = static_cast<std::byte*>(begin) + hole / 2;
  {
    const std::span memory(at, 4096);
    runner it(make_vcpu(), watchdog::shared().value(), {.memory = memory});
    it.begin({});
    it.interrupt(errc::cancelled);
    REQUIRE(::mmap(at, 4096, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, -1, 0) == at);
    while (it.run().error().os_error != EINTR) std::this_thread::sleep_for(1ms);
    CHECK(it.end().error().code == errc::cancelled);
  }
  ::munmap(at, 4096);
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
    if (it.stopped() || it.gate.interrupted()) ++bad;
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
  CHECK(refused.error().code == errc::os_error);
  CHECK(refused.error().os_error == EAGAIN);
}

TEST_CASE("a stop that was requested before the call keeps it out of the guest", "[deadline]") {
  running it;
  std::stop_source source;
  source.request_stop();
  it->begin({.stop = source.get_token()});
  // Had it tried, the missing descriptor would have answered EBADF.
  const auto ran = it->run();
  REQUIRE_FALSE(ran);
  CHECK(ran.error().os_error == EINTR);
  CHECK(it->end().error().code == errc::cancelled);
  CHECK_FALSE(it->running());
}

TEST_CASE("a stop from this thread or another cancels the call", "[deadline]") {
  running it;
  std::stop_source source;
  it->begin({.stop = source.get_token()});
  CHECK(it->run().error().os_error == EBADF);
  SECTION("this one, as a hypercall handler may") {
    source.request_stop();
  }
  SECTION("another") {
    std::thread([&] { source.request_stop(); }).join();
  }
  CHECK(it->run().error().os_error == EINTR);
  CHECK(it->end().error().code == errc::cancelled);

  // The source stays stopped, but concerns this call only.
  it->begin({});
  CHECK(it->run().error().os_error == EBADF);
  CHECK(it->end());
}

TEST_CASE("a stop after the call is nothing to it", "[deadline]") {
  running it;
  std::stop_source source;
  it->begin({.stop = source.get_token()});
  CHECK(it->end());
  it->begin({});
  source.request_stop();
  CHECK(it->run().error().os_error == EBADF);
  CHECK(it->end());
}

TEST_CASE("a deadline in the past ends a call that begins", "[deadline]") {
  running it;
  const auto until =
      GENERATE(as<interrupter::time_point>{}, interrupter::time_point::min(), clock_type::now());
  it->begin({.until = until});
  while (it->run().error().os_error != EINTR) std::this_thread::sleep_for(1ms);
  CHECK(it->end().error().code == errc::timed_out);
}

TEST_CASE("a runner may be destroyed in the middle of a call", "[deadline]") {
  std::stop_source source;
  {
    running it;
    it->begin({.until = clock_type::now() + 1h, .stop = source.get_token()});
    CHECK(it->running());
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

TEST_CASE("the library's threads take no signals", "[deadline]") {
  const auto masks = [] {
    std::vector<std::uint64_t> found;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);) {
        if (line.rfind("SigBlk:", 0) == 0)
          found.push_back(std::stoull(line.substr(7), nullptr, 16));
      }
    }
    return found;
  };
  const auto blocks_all = [](std::uint64_t mask) {
    for (int number = 1; number <= SIGRTMAX; ++number) {
      // What a thread does to itself stays open. KILL and STOP cannot be blocked, and two are the
      // C library's.
      const bool open = number == SIGSEGV || number == SIGBUS || number == SIGFPE ||
                        number == SIGILL || number == SIGTRAP || number == SIGSYS ||
                        number == SIGKILL || number == SIGSTOP || number == 32 || number == 33;
      if (((mask >> (number - 1)) & 1) != (open ? 0 : 1)) return false;
    }
    return true;
  };
  CHECK(in_child([&] {
          const auto all = [&] { return std::ranges::count_if(masks(), blocks_all); };
          // A thread that is just being started has even the C library's blocked.
          const auto becomes = [&](int wanted) {
            while (all() != wanted) std::this_thread::sleep_for(1ms);
          };
          const std::size_t before = masks().size();  // ThreadSanitizer has one of its own.
          if (all() != 0) return 1;
          const watchdog dog;
          becomes(1);
          struct nothing final : work {
            void run() override { ran.store(true); }
            std::atomic<bool> ran = false;
          } job;
          workers some(1);
          if (!some.submit(job)) return 2;
          while (!job.ran) std::this_thread::yield();
          becomes(2);
          return all() == 2 && masks().size() == before + 2 ? 0 : 3;
        }) == 0);
}

namespace {
std::atomic<int> asked = 0;
std::atomic<bool> over = false;
bool is_over() {
  ++asked;
  return over;
}
}  // namespace

TEST_CASE("a call asks stop_if before it enters, and when it is told to", "[deadline]") {
  asked = 0;
  over = false;
  running outer;
  running inner;
  const auto requested = [](running& of) { return of->vcpu().state().immediate_exit != 0; };
  ask_stop_if();  // Nobody is there to hear it.
  outer->begin({.stop_if = is_over});
  CHECK(asked == 0);
  ask_stop_if();
  CHECK(requested(outer));
  // What was asked before need not be asked again.
  CHECK(outer->run().error().os_error == EBADF);
  CHECK(asked == 1);
  CHECK_FALSE(requested(outer));
  {
    inner->begin({.stop_if = is_over});
    ask_stop_if();
    CHECK(requested(inner));
    CHECK_FALSE(requested(outer));
    over = true;
    CHECK(inner->run().error().os_error == EINTR);
    CHECK(inner->end().error().code == errc::cancelled);
    CHECK_FALSE(requested(inner));
  }
  ask_stop_if();
  CHECK(requested(outer));
  CHECK_FALSE(outer->pause(1h));
  CHECK(outer->end().error().code == errc::cancelled);
  CHECK_FALSE(requested(outer));
  ask_stop_if();
  CHECK_FALSE(requested(outer));
  CHECK_FALSE(requested(inner));
  // Calls without it are none of its business.
  outer->begin({});
  ask_stop_if();
  CHECK(outer->run().error().os_error == EBADF);
  CHECK(outer->end());
}
