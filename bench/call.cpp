// What a call costs: empty, with arguments, with a hypercall, with a system call, on a new machine,
// in a VM of its own or a shared one, and when it fails; each beside the least that KVM itself
// takes.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <guests/asking.hpp>
#include <guests/asking/asking.hpp>
#include <guests/bulk.hpp>
#include <guests/empty.hpp>
#include <guests/initialised.hpp>
#include <guests/square.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

using bytes = std::span<const std::byte>;

std::string size_name(std::size_t size) {
  if (size < 1024) return std::to_string(size);
  if (size < 1024 * 1024) return std::to_string(size / 1024) + "K";
  return std::to_string(size / 1024 / 1024) + "M";
}

void measure_calls(bench::program& program) {
  const bench::floor_exit exit;
  virtine::virtine_fn<void(), guests::empty::nothing> nothing;
  virtine::virtine_fn<int(int), guests::square> square;

  bench::group rows;
  rows.floor("call.floor", [&] { exit(); });
  rows.row("call.empty", [&] { bench::check(nothing.try_call().has_value(), "nothing()"); });
  virtine::call_usage used;
  const auto counted = nothing.with({.usage = &used});
  rows.row("account.overhead", [&] { bench::check(counted.try_call().has_value(), "nothing()"); });
  rows.row("call.square", [&, n = 0]() mutable {
    n = (n + 1) % 1000;
    bench::check(square(n) == n * n, "square(n)");
  });
  program.measure(std::move(rows));
}

void measure_hypercalls(bench::program& program) {
  const bench::floor_exit exit;
  auto policy = virtine::policy{virtine::allow<next>([](virtine::tainted<int> n) {
    return n.unverified_because("any number has a next one here") + 1;
  })};
  virtine::virtine_fn<int(int), guests::asking::count, decltype(policy)> count{policy};
  auto granting = virtine::policy{policy, virtine::posix::others_fail_with_enosys()};
  virtine::virtine_fn<long(int), guests::asking::identify, decltype(granting)> identify{granting};

  bench::group rows;
  rows.floor("call.hypercall.floor", [&] {
    exit();
    exit();
  });
  rows.row("call.hypercall", [&] { bench::check(count(1) == 1, "count(1)"); });
  rows.row("call.syscall", [&] { bench::check(identify(1) == 1, "identify(1)"); });
  program.measure(std::move(rows));

  bench::group counts({.samples = 500});
  counts.floor("call.hypercalls.floor", [&] { exit(); });
  for (const int n : {0, 1, 2, 4, 8, 16, 32}) {
    counts.row("call.hypercalls." + std::to_string(n),
               [&count, n] { bench::check(count(n) == n, "count(n)"); });
  }
  program.measure(std::move(counts));
}

void measure_spans(bench::program& program) {
  const bench::floor_exit exit;
  virtine::pool<guests::bulk> pool;
  virtine::virtine_fn<unsigned long(bytes), guests::bulk::size> size{pool};
  virtine::virtine_fn<unsigned long(bytes), guests::bulk::sum> sum{pool};
  const std::vector<std::byte> data(1024 * 1024, std::byte{3});

  constexpr std::size_t kib = 1024;
  for (std::size_t n : {0 * kib, kib / 16, kib, 16 * kib, 64 * kib, 256 * kib, 1024 * kib}) {
    const bytes given = bytes(data).first(n);
    bench::group rows({.samples = n < 256 * 1024 ? 1000U : 200U});
    rows.floor("call.span." + size_name(n) + ".floor", [&] { exit(); });
    rows.row("call.span." + size_name(n),
             [&, given] { bench::check(size(given) == given.size(), "size(data)"); });
    rows.row("call.span.sum." + size_name(n),
             [&, given] { bench::check(sum(given) == 3 * given.size(), "sum(data)"); });
    program.measure(std::move(rows));
  }
}

void measure_creation(bench::program& program) {
  using virtine_nothing = virtine::virtine_fn<void(), guests::empty::nothing>;
  const auto cold = [] {
    virtine_nothing once;
    bench::check(once.try_call().has_value(), "nothing()");
  };
  const auto floor = [] { bench::floor_exit{}(); };
  virtine::virtine_fn<void(), guests::empty::crash> crash;

  // Alone: without another machine of the image in the process, whose snapshot a new one could use.
  bench::group alone({.samples = 300, .burst = 1});
  alone.floor("call.cold.alone.floor", floor);
  alone.row("call.cold.alone", cold);
  alone.row("call.cold.initialised", [] {
    virtine::virtine_fn<int(), guests::initialised::first> once;
    bench::check(once() == 7, "first()");
  });
  program.measure(std::move(alone));

  virtine_nothing other;
  bench::check(other.try_call().has_value(), "nothing()");
  bench::group rows({.samples = 300, .burst = 1});
  rows.floor("call.cold.floor", floor);
  rows.row("call.cold", cold);
  rows.row("call.fault", [&] {
    const auto failed = crash.try_call();
    bench::check(!failed && failed.error().code == virtine::errc::guest_fault, "crash()");
  });
  program.measure(std::move(rows));
}

/// A new machine in a VM that others have machines in, and its first call, beside a VM of its own
/// by raw ioctls. What is made is kept, so that no VM is closed. `again` makes the machine in the
/// place of another, which it destroys; its floor closes a VM, too.
void measure_shared_vm(bench::program& program) {
  using pool = virtine::pool<guests::empty>;
  constexpr std::size_t machines_per_vm = 128;
  const auto called = [](pool& from) {
    auto lent = from.borrow();
    bench::check(lent && (*lent)->enter(guests::empty::nothing::address, {}), "nothing()");
    return *std::move(lent);
  };
  const auto timed = [](auto body) {
    const auto begin = bench::clock::now();
    body();
    return bench::microseconds(bench::clock::now() - begin);
  };
  pool holder;
  bench::check(holder.warm_up(1).has_value(), "warm_up()");
  std::vector<std::unique_ptr<bench::floor_exit>> bare;
  const virtine::pool_options options{.max = SIZE_MAX, .machines_per_vm = machines_per_vm};
  auto machines = std::make_unique<pool>(options);
  std::vector<pool::lease> kept;
  pool others(options);
  auto beside = called(others);
  auto last = std::make_optional(called(others));
  std::optional<bench::floor_exit> last_bare(std::in_place);

  bench::group rows({.burst = 1});
  rows.floor("cold.shared_vm.floor", [&] {
    if (bare.size() == machines_per_vm) bare.clear();
    return timed([&] {
      bare.push_back(std::make_unique<bench::floor_exit>());
      (*bare.back())();
    });
  });
  rows.row("cold.shared_vm", [&] {
    // Another VM, so that each machine has a place and a vCPU that are new.
    if (kept.size() == machines_per_vm) {
      kept.clear();
      machines = std::make_unique<pool>(options);
    }
    return timed([&] { kept.push_back(called(*machines)); });
  });
  program.measure(std::move(rows));

  bench::group again({.burst = 1});
  again.floor("cold.shared_vm.again.floor", [&] {
    last_bare.reset();
    last_bare.emplace();
    (*last_bare)();
  });
  again.row("cold.shared_vm.again", [&] {
    last.reset();
    last.emplace(called(others));
  });
  program.measure(std::move(again));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("call", argc, argv);
  measure_calls(program);
  measure_hypercalls(program);
  measure_spans(program);
  measure_creation(program);
  measure_shared_vm(program);
  return program.finish();
}
