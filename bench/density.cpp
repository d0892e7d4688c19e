// What an idle machine costs in memory, all of the system's included: machines of a 16 KiB image
// in a pool, with VMs of their own or in one, each of which has served a call, beside the VM that
// each of them contains, made by raw ioctls with vCPU and memory slots and entered once.
// SPDX-License-Identifier: MIT
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <guests/sized_16KiB.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

using image = guests::sized_16KiB;

/// Returns MemAvailable in KiB.
double available() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    double value = 0;
    if (word == "MemAvailable:" && file >> value) return value;
  }
  bench::check(false, "MemAvailable in /proc/meminfo");
  return 0;
}

/// Returns MemAvailable once it no longer changes much: the kernel frees VMs some time after they
/// were closed.
double settled(int most_tries) {
  double before = available();
  for (int tries = 0; tries < most_tries; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const double now = available();
    if (std::abs(now - before) < 1024) return now;
    before = now;
  }
  return before;
}

/// Returns what each of `count` things that `make` makes takes. They are kept, because the kernel
/// does not give all memory back that it had for machines, and would use it for the next ones.
/// Memory that others take or free meanwhile counts too: only a quiet machine gives right figures.
template <class Make, class Kept>
double each_takes(std::size_t count, int most_tries, Make make, Kept& kept) {
  const double before = settled(most_tries);
  kept.push_back(make(count));
  return (before - settled(most_tries)) / static_cast<double>(count);
}

std::unique_ptr<virtine::pool<image>> warm_pool(std::size_t count, std::size_t machines_per_vm) {
  auto made = std::make_unique<virtine::pool<image>>(
      virtine::pool_options{.max = count, .machines_per_vm = machines_per_vm});
  bench::check(made->warm_up(count).has_value(), "warm_up()");
  std::vector<virtine::pool<image>::lease> all;
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto lent = made->borrow();
    bench::check(lent && (*lent)->enter(image::at::address, {}), "a call");
    all.push_back(*std::move(lent));
  }
  for (auto& each : all) each.give_back(virtine::x86::page_size);
  bench::check(made->stats().idle == count, "all are idle");
  return made;
}

std::vector<std::unique_ptr<bench::floor_exit>> bare_machines(std::size_t count) {
  std::vector<std::unique_ptr<bench::floor_exit>> all;
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back(std::make_unique<bench::floor_exit>());
    (*all.back())();
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("density", argc, argv);
  // Each sample is a batch of this many; with those for warming up, a thousand and a half of each.
  const std::size_t count = program.is_short() ? 5 : 100;
  const int tries = program.is_short() ? 0 : 50;
  const std::size_t descriptors = 3 * 3 * 15 * count + 100;
  rlimit files{};
  bench::check(getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit");
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < descriptors) {
    std::printf(
        "skipped: so many machines need %zu descriptors, and the hard limit (ulimit -Hn) is "
        "lower\n",
        descriptors);
    return 77;
  }
  // Keeps what all machines share, which is none of an idle machine's.
  virtine::pool<image> holder;
  bench::check(holder.warm_up(1).has_value(), "warm_up()");

  std::vector<std::vector<std::unique_ptr<bench::floor_exit>>> bare;
  std::vector<std::unique_ptr<virtine::pool<image>>> idle;
  bench::group rows({.samples = 10, .burst = 1, .unit = "KiB"});
  rows.floor("density.bare", [&] { return each_takes(count, tries, bare_machines, bare); });
  rows.row("density.idle", [&] {
    return each_takes(
        count, tries, [](std::size_t n) { return warm_pool(n, 1); }, idle);
  });
  rows.row("density.shared_vm", [&] {
    return each_takes(
        count, tries, [](std::size_t n) { return warm_pool(n, n); }, idle);
  });
  program.measure(std::move(rows));

  // As many as a server may want, and more than there are descriptors for with VMs of their own.
  bare.clear();
  idle.clear();
  const std::size_t many = program.is_short() ? 10 : 10'000;
  std::unique_ptr<virtine::pool<image>> held;
  bench::group crowd({.samples = 3, .burst = 1, .unit = "KiB"});
  crowd.row("density.shared_vm.10K", [&] {
    held.reset();
    const double before = settled(tries);
    held = warm_pool(many, count);
    return (before - settled(tries)) / static_cast<double>(many);
  });
  program.measure(std::move(crowd));
  return program.finish();
}
