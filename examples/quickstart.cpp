// Calls functions in virtual machines of their own and shows what each call costs.
// Run: meson setup build && ninja -C build && build/examples/quickstart
// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdio>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <guests/square.hpp>
#include <guests/text.hpp>
#include <virtine/virtine.hpp>

#include "floor.hpp"

namespace {

// Returns what a call takes in microseconds, as the mean of many.
template <class Call>
double cost(const Call& call) {
  constexpr int calls = 500;
  call();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  return took.count() / calls;
}

void show(const char* what, const std::string& result, double microseconds) {
  std::printf("%-30s %-16s %8.1f us\n", what, result.c_str(), microseconds);
}

void run() {
  // An image with one function can stand for it.
  virtine::virtine_fn<int(int), guests::square> square;
  show("square(12)", std::to_string(square(12)), cost([&] { square(12); }));

  // The math guest writes to its host's log; a policy says that it may, and what comes of it.
  int lines = 0;
  auto policy = virtine::policy{
      virtine::allow<log_line>([&](virtine::tainted<std::string_view>) { ++lines; })};
  // Functions of one image share machines by sharing a pool.
  virtine::pool<guests::math> pool;

  virtine::virtine_fn<int(int), guests::math::fib, decltype(policy)> fib{pool, policy};
  show("fib(15)", std::to_string(fib(15)), cost([&] { fib(15); }));

  virtine::virtine_fn<long(std::span<const int>), guests::math::sum, decltype(policy)> sum{pool,
                                                                                           policy};
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 1);
  show("sum(1, 2, ... 1000)", std::to_string(sum(values)), cost([&] { sum(values); }));
  if (lines == 0) {
    throw virtine::failure({.code = virtine::errc::bad_reply, .operation = "nothing was logged"});
  }

  virtine::virtine_fn<point(point, point), guests::math::midpoint, decltype(policy)> midpoint{
      pool, policy};
  const point middle = midpoint({0, 0}, {3, 5});
  char text[32];
  std::snprintf(text, sizeof text, "(%g, %g)", middle.x, middle.y);
  show("midpoint((0, 0), (3, 5))", text, cost([&] { midpoint({0, 0}, {3, 5}); }));

  virtine::virtine_fn<unsigned long(std::string_view), guests::text> words;
  constexpr std::string_view saying = "one machine for each call";
  show("words(\"one machine for ...\")", std::to_string(words(saying)),
       cost([&] { words(saying); }));

  // The same machine, virtualised by the same KVM, with nothing around its KVM_RUN.
  bench::floor_guest guest;
  bench::floor_machine machine;
  if (bench::floor_prepare(&guest) == 0 && bench::floor_create(&guest, &machine) == 0) {
    show("a bare KVM_RUN", "", cost([&] { bench::floor_run(&machine); }));
  }
  bench::floor_destroy(&guest, &machine);
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.why().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// square(12)                     144                ... us
// fib(15)                        610                ... us
// sum(1, 2, ... 1000)            500500             ... us
// midpoint((0, 0), (3, 5))       (1.5, 2.5)         ... us
// words("one machine for ...")   5                  ... us
// a bare KVM_RUN                                    ... us
