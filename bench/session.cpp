// What a call of a session costs, beside a bare KVM_RUN: where its guest stays and polls for it on
// a processor of its own, after a pause, and where there is one processor only. Wants two that have
// nothing else to do.
// SPDX-License-Identifier: MIT
#include <sched.h>

#include <chrono>
#include <thread>
#include <utility>

#include <guests/empty.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

void measure_calls(bench::program& program) {
  const bench::floor_exit exit;
  virtine::virtine_fn<void(), guests::empty::nothing> nothing;
  virtine::virtine_fn<int(int), guests::square> square;
  virtine::session fast_nothing(nothing);
  virtine::session fast_square(square);

  // A burst is long enough to make little of its first calls, which the caller makes itself; the
  // guest whose turn it is not goes to sleep.
  bench::group rows({.samples = 20'000, .burst = 2000});
  rows.floor("session.floor", [&] { exit(); });
  rows.row("session.empty",
           [&] { bench::check(fast_nothing.try_call().has_value(), "nothing()"); });
  rows.row("session.square", [&, n = 0]() mutable {
    n = (n + 1) % 1000;
    bench::check(fast_square(n) == n * n, "square(n)");
  });
  program.measure(std::move(rows));
}

// Calls after a pause; and opens a session, calls once and closes it.
void measure_edges(bench::program& program) {
  const bench::floor_exit exit;
  virtine::virtine_fn<int(int), guests::square> square;
  virtine::session fast_square(square);

  bench::group rows({.samples = 300, .burst = 5});
  rows.floor("session.edge.floor", [&] { exit(); });
  rows.row("session.open", [&] {
    virtine::session once(square);
    bench::check(once(3) == 9, "square(3)");
  });
  const auto after_pause = [](const auto& what) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto begin = bench::clock::now();
    what();
    return bench::microseconds(bench::clock::now() - begin);
  };
  rows.row("session.wake.exit", [&] { return after_pause(exit); });
  rows.row("session.wake",
           [&] { return after_pause([&] { bench::check(fast_square(3) == 9, "square(3)"); }); });
  program.measure(std::move(rows));
}

// Calls in a row of a session that has one processor, for its caller and its thread.
void measure_one_core(bench::program& program) {
  cpu_set_t all;
  bench::check(sched_getaffinity(0, sizeof all, &all) == 0, "sched_getaffinity");
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(sched_getcpu()), &one);
  bench::check(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
  {
    const bench::floor_exit exit;
    virtine::virtine_fn<int(int), guests::square> square;
    virtine::session pinned(square);

    bench::group rows({.samples = 5000, .burst = 500});
    rows.floor("session.one_core.floor", [&] { exit(); });
    rows.row("session.one_core", [&, n = 0]() mutable {
      n = (n + 1) % 1000;
      bench::check(pinned(n) == n * n, "square(n)");
    });
    program.measure(std::move(rows));
  }
  bench::check(sched_setaffinity(0, sizeof all, &all) == 0, "sched_setaffinity");
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("session", argc, argv);
  measure_calls(program);
  measure_edges(program);
  measure_one_core(program);
  return program.finish();
}
