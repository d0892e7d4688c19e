// What a call costs when its guest stays and polls for it on a processor of its own, awake and
// after it went to sleep, beside a bare KVM_RUN. Wants two processors that have nothing else to do.
// SPDX-License-Identifier: MIT
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

  // A burst is long enough for the first calls of it, not counted, to wake the guest; the one whose
  // turn it is not goes to sleep.
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

// Wakes a guest that sleeps, with its thread; and opens a session, calls once and closes it.
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
  rows.row("session.wake", [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto begin = bench::clock::now();
    const int nine = fast_square(3);
    const bench::microseconds took = bench::clock::now() - begin;
    bench::check(nine == 9, "square(3)");
    return took;
  });
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("session", argc, argv);
  measure_calls(program);
  measure_edges(program);
  return program.finish();
}
