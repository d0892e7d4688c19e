// What several threads make of a machine with several cores: calls of two threads at one time,
// cleaning in the background, calls that nobody waits for.
// SPDX-License-Identifier: MIT
#include <poll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <guests/empty.hpp>
#include <guests/writes.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

/// A second thread that does what it is given, and sleeps in between.
class companion {
 public:
  companion() : thread_([this] { serve(); }) {}
  ~companion() {
    start({});
    thread_.join();
  }
  companion(const companion&) = delete;
  companion& operator=(const companion&) = delete;

  void start(std::function<void()> what) {
    what_ = std::move(what);
    ++given_;
    given_.notify_one();
  }
  void join() {
    for (int done = done_; done != given_; done = done_) done_.wait(done);
  }

 private:
  void serve() {
    for (int turn = 1;; ++turn) {
      given_.wait(turn - 1);
      if (!what_) return;
      what_();
      done_ = turn;
      done_.notify_one();
    }
  }

  std::function<void()> what_;
  std::atomic<int> given_ = 0;
  std::atomic<int> done_ = 0;
  std::thread thread_;
};

/// Calls that each thread makes in one sample: enough to make little of the companion's waking,
/// which is timed too.
constexpr int round = 200;

/// Every row is wall time per call, of whichever thread; the last column compares it with
/// threads.1. So 1 / ratio is how many times the calls per second of one thread two threads reach,
/// and 0.5 means that they do not disturb each other at all. threads.kvm.* are bare exits, for what
/// the host makes of two threads.
void measure_two(bench::program& program) {
  virtine::virtine_fn<void(), guests::empty::nothing> nothing;
  const bench::floor_exit first;
  const bench::floor_exit second;
  companion other;
  const auto calls = [&] {
    for (int i = 0; i < round; ++i) bench::check(nothing.try_call().has_value(), "nothing()");
  };
  const auto exits = [](const bench::floor_exit& exit) {
    for (int i = 0; i < round; ++i) exit();
  };
  // The time per call of `count` threads whose calls begin after `begin`.
  const auto per_call = [](bench::clock::time_point begin, int count) {
    return bench::microseconds(bench::clock::now() - begin) / (count * round);
  };

  bench::group rows({.samples = 200, .burst = 1});
  rows.floor("threads.1", [&] {
    const auto begin = bench::clock::now();
    calls();
    return per_call(begin, 1);
  });
  rows.row("threads.2", [&] {
    const auto begin = bench::clock::now();
    other.start(calls);
    calls();
    other.join();
    return per_call(begin, 2);
  });
  rows.row("threads.kvm.1", [&] {
    const auto begin = bench::clock::now();
    exits(first);
    return per_call(begin, 1);
  });
  rows.row("threads.kvm.2", [&] {
    const auto begin = bench::clock::now();
    other.start([&] { exits(second); });
    exits(first);
    other.join();
    return per_call(begin, 2);
  });
  program.measure(std::move(rows));
}

/// A bare exit of a vCPU that another thread has run last, beside one that this thread has: what a
/// machine costs that goes from thread to thread.
void measure_handover(bench::program& program) {
  const bench::floor_exit exit;
  companion other;

  bench::group rows({.samples = 200});
  rows.floor("threads.handover.floor", [&] { exit(); });
  rows.row("threads.handover", [&] {
    other.start([&] { exit(); });
    other.join();
    const auto begin = bench::clock::now();
    exit();
    return bench::microseconds(bench::clock::now() - begin);
  });
  program.measure(std::move(rows));
}

/// A call that writes `pages` pages, wiped before it returns (the floor) and in the background: one
/// right after the other, where the caller wipes what the background has not got to, and paced,
/// each when the last one's machine is clean. And how long the background took for one, which the
/// other core spends.
void measure_background(bench::program& program, std::uint32_t pages) {
  virtine::pool<guests::writes> here({.max = 4});
  virtine::pool<guests::writes> background(
      {.max = 4, .cleaning = virtine::cleaning::in_background});
  using write_fn = virtine::virtine_fn<std::uint32_t(std::uint32_t), guests::writes::upwards>;
  write_fn write_here(here);
  write_fn write(background);

  const std::string name = "threads.background." + std::to_string(pages);
  bench::group rows({.samples = 1000});
  rows.floor(name + ".on_return",
             [&] { bench::check(write_here(pages) == pages, "upwards(pages)"); });
  rows.row(name, [&] { bench::check(write(pages) == pages, "upwards(pages)"); });
  // Makes a call when all machines are clean, and waits until its machine is.
  bench::microseconds call_time{};
  const auto paced = [&] {
    virtine::pool_stats before = background.stats();
    for (; before.idle < before.machines; before = background.stats()) std::this_thread::yield();
    const auto begin = bench::clock::now();
    bench::check(write(pages) == pages, "upwards(pages)");
    call_time = bench::clock::now() - begin;
    virtine::pool_stats after = background.stats();
    for (; after.cleaned == before.cleaned; after = background.stats()) std::this_thread::yield();
    return bench::microseconds(after.cleaning_time - before.cleaning_time);
  };
  rows.row(name + ".paced", [=, &call_time] {
    paced();
    return call_time;
  });
  rows.row(name + ".cleaning", paced);
  program.measure(std::move(rows));
}

/// Calls on the pool's threads: one that is waited for at once, in two ways, and many, per call.
void measure_async(bench::program& program) {
  const bench::floor_exit exit;
  virtine::virtine_fn<void(), guests::empty::nothing> nothing;

  bench::group rows({.samples = 1000});
  rows.floor("async.floor", [&] { exit(); });
  rows.row("async.get", [&] { nothing.async().get(); });
  rows.row("async.poll", [&] {
    auto later = nothing.async();
    pollfd ready{.fd = later.event_fd().value(), .events = POLLIN, .revents = 0};
    bench::check(::poll(&ready, 1, -1) == 1, "poll");
    later.get();
  });
  rows.row("async.many", [&] {
    constexpr int count = 100;
    std::vector<virtine::pending<void>> all;
    all.reserve(count);
    const auto begin = bench::clock::now();
    for (int i = 0; i < count; ++i) all.push_back(nothing.async());
    for (auto& each : all) each.get();
    return bench::microseconds(bench::clock::now() - begin) / count;
  });
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("threads", argc, argv);
  measure_two(program);
  measure_handover(program);
  measure_background(program, 1);
  measure_background(program, 64);
  measure_background(program, 1024);
  measure_async(program);
  return program.finish();
}
