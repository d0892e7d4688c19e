// What deadlines cost calls that keep them, and how late they stop a guest that does not.
// SPDX-License-Identifier: MIT
#include <chrono>
#include <utility>

#include <guests/empty.hpp>
#include <virtine/virtine.hpp>

#include "harness.hpp"

namespace {

using namespace std::chrono_literals;

void measure_overhead(bench::program& program) {
  virtine::virtine_fn<void(), guests::empty::nothing> nothing;
  const auto unlimited = nothing.with({.timeout = std::chrono::nanoseconds::max()});
  const auto limited = nothing.with({.timeout = 10s});

  bench::group rows;
  rows.floor("deadline.overhead.floor",
             [&] { bench::check(unlimited.try_call().has_value(), ""); });
  rows.row("deadline.overhead", [&] { bench::check(limited.try_call().has_value(), ""); });
  program.measure(std::move(rows));
}

/// How long after its deadline a call that never ends returns to its caller, the machine destroyed.
void measure_lateness(bench::program& program) {
  constexpr auto timeout = 5ms;
  virtine::virtine_fn<void(), guests::empty::spin> spin;

  bench::group rows({.samples = 200, .burst = 1});
  rows.row("deadline.lateness", [&]() -> bench::microseconds {
    const auto begin = bench::clock::now();
    const auto ended = spin.with({.timeout = timeout}).try_call();
    const auto late = bench::clock::now() - begin - timeout;
    bench::check(!ended && ended.error().code == virtine::errc::timed_out, "spin()");
    return late;
  });
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("deadline", argc, argv);
  measure_overhead(program);
  measure_lateness(program);
  return program.finish();
}
