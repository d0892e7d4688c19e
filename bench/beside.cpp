// What a virtine costs beside the same function natively and as WebAssembly that wasm2c has made C
// of: on an instance that is kept, and on a new one for each call, which is the isolation that a
// virtine gives. By one compiler, clang.
// SPDX-License-Identifier: MIT
#include <string>
#include <utility>

#include <guests/fib.hpp>
#include <virtine/virtine.hpp>

#include "fib_wasm.h"
#include "floor_exit.hpp"
#include "harness.hpp"

extern "C" int beside_fib(int n);

namespace {

/// An instance of the WebAssembly module.
class instance {
 public:
  instance() { Z_fib_instantiate(&made_); }
  ~instance() { Z_fib_free(&made_); }
  instance(const instance&) = delete;
  instance& operator=(const instance&) = delete;

  unsigned fib(unsigned n) { return Z_fibZ_fib(&made_, n); }

 private:
  Z_fib_instance_t made_{};
};

void measure(bench::program& program, int n, unsigned expected) {
  const bench::floor_exit exit;
  const virtine::virtine_fn<int(int), guests::fib> fib;
  const auto number = static_cast<unsigned>(n);
  instance kept;
  const std::size_t batch = n < 10 ? 1000 : 1;

  const std::string name = "beside.fib." + std::to_string(n);
  bench::group rows({.samples = 1000});
  rows.row(name + ".exit", [&] { exit(); });
  rows.floor(
      name + ".native", [=] { bench::keep(beside_fib(n)); }, batch);
  rows.row(
      name + ".wasm2c", [&] { bench::check(kept.fib(number) == expected, "fib"); }, batch);
  rows.row(name + ".wasm2c.new", [&] {
    instance once;
    bench::check(once.fib(number) == expected, "fib");
  });
  rows.row(name + ".virtine", [&] { bench::check(fib(n) == static_cast<int>(expected), "fib"); });
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("beside", argc, argv);
  wasm_rt_init();
  Z_fib_init_module();
  measure(program, 0, 0);
  measure(program, 20, 6765);
  return program.finish();
}
