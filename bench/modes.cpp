// What fib(20) takes in each mode of the processor (the virtines paper's Figure 3): real, protected
// and long mode at CPL 0, and as an ordinary guest.
// SPDX-License-Identifier: MIT
#include <chrono>
#include <string>
#include <utility>

#include <guests/fib.hpp>
#include <guests/fib16.hpp>
#include <guests/fib32.hpp>
#include <guests/fib64.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

template <class Image>
void add(bench::group& rows, std::string name, int n, int expected) {
  rows.row(std::move(name), [=, fib = virtine::virtine_fn<int(int), Image>{}] {
    bench::check(fib(n) == expected, "fib(n)");
  });
}

/// Returns how long the second of two calls takes.
template <class Image>
bench::clock::duration time_of() {
  const virtine::virtine_fn<int(int), Image> fib;
  bench::check(fib(10) == 55, "fib(10)");
  const auto begin = bench::clock::now();
  bench::check(fib(10) == 55, "fib(10)");
  return bench::clock::now() - begin;
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("modes", argc, argv);
  const bench::floor_exit exit;
  // Some hosts interpret bare modes.
  const bool is_slow = time_of<guests::fib64>() > 4 * time_of<guests::fib>();
  // A short run does the same with less.
  const int n = program.is_short() ? 10 : 20;
  const int expected = program.is_short() ? 55 : 6765;
  bench::group rows({.samples = is_slow ? 10U : 500U, .burst = is_slow ? 1U : 10U});
  rows.floor("modes.exit", [&] { exit(); });
  add<guests::fib16>(rows, "modes.real16", n, expected);
  add<guests::fib32>(rows, "modes.protected32", n, expected);
  add<guests::fib64>(rows, "modes.long64", n, expected);
  add<guests::fib>(rows, "modes.user64", n, expected);
  program.measure(std::move(rows));
  return program.finish();
}
