// What calls cost that vcc makes of marked C functions: beside virtine_fn, and the paper's fib
// (its Figure 11), natively, in a machine, in one without a snapshot, and by virtine_fn.
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include <guests/fib.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

extern "C" {
int native_fib(int n);
int vcc_fib(int n);
int vcc_square(int n);
}

namespace {

/// A process whose calls have no snapshots: whether they do is decided at the first.
class without_snapshots {
 public:
  without_snapshots() {
    bench::check(pipe(to_.data()) == 0 && pipe(from_.data()) == 0, "pipe()");
    const pid_t child = fork();
    bench::check(child >= 0, "fork()");
    if (child == 0) serve();
    close(to_[0]);
    close(from_[1]);
  }
  ~without_snapshots() {
    close(to_[1]);
    close(from_[0]);
  }
  without_snapshots(const without_snapshots&) = delete;
  without_snapshots& operator=(const without_snapshots&) = delete;

  /// Returns how many microseconds vcc_fib(n) takes there.
  double operator()(int n) {
    double took = 0;
    bench::check(write(to_[1], &n, sizeof n) == sizeof n, "write()");
    bench::check(read(from_[0], &took, sizeof took) == sizeof took, "vcc_fib()");
    return took;
  }

 private:
  [[noreturn]] void serve() {
    close(to_[1]);
    close(from_[0]);
    setenv("VIRTINE_NO_SNAPSHOT", "1", 1);
    for (int n = 0; read(to_[0], &n, sizeof n) == sizeof n;) {
      const auto begin = bench::clock::now();
      vcc_fib(n);
      const double took = bench::microseconds(bench::clock::now() - begin).count();
      if (write(from_[1], &took, sizeof took) != sizeof took) break;
    }
    _exit(0);
  }

  std::array<int, 2> to_{}, from_{};
};

void measure_fib(bench::program& program, without_snapshots& other) {
  const bench::floor_exit exit;
  virtine::virtine_fn<int(int), guests::fib> fib;
  for (int n = 0; n <= 30; ++n) {
    const std::string name = "vcc.fib." + std::to_string(n);
    bench::group rows({.samples = n < 20 ? 200U : 50U});
    rows.row(name + ".exit", [&] { exit(); });
    rows.floor(
        name + ".native", [n] { bench::keep(native_fib(n)); }, n < 10 ? 1000 : 1);
    rows.row(name, [n] { bench::keep(vcc_fib(n)); });
    rows.row(name + ".virtine_fn", [&fib, n] { bench::keep(fib(n)); });
    rows.row(name + ".no_snapshot", [&other, n] { return other(n); });
    program.measure(std::move(rows));
  }
}

}  // namespace

int main(int argc, char** argv) {
  without_snapshots other;  // Before this process has machines, which a fork leaves behind.
  bench::program program("vcc", argc, argv);
  bench::require_kvm();
  virtine::virtine_fn<int(int), guests::fib> fib;
  bench::check(vcc_fib(20) == 6765 && native_fib(20) == 6765 && fib(20) == 6765, "fib(20)");
  measure_fib(program, other);

  virtine::virtine_fn<int(int), guests::square> square;
  bench::group calls;
  calls.floor("virtine_fn.square", [&, n = 0]() mutable {
    n = (n + 1) % 1000;
    bench::check(square(n) == n * n, "square(n)");
  });
  calls.row("vcc.square", [n = 0]() mutable {
    n = (n + 1) % 1000;
    bench::check(vcc_square(n) == n * n, "vcc_square(n)");
  });
  program.measure(std::move(calls));
  return program.finish();
}
