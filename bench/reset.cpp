// What it costs to wipe a machine: by the number of pages that its call wrote. And what the first
// such call on a new machine costs, page by page or all over its memory.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <guests/writes.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

using upwards_fn = virtine::virtine_fn<std::uint32_t(std::uint32_t), guests::writes::upwards>;
using scattered_fn = virtine::virtine_fn<std::uint32_t(std::uint32_t), guests::writes::scattered>;

/// A call that wrote N pages, wiped, beside a bare exit and a memcpy of N pages. Each has a machine
/// of its own, whose write set is these pages and up to 32 ahead of them.
void measure_pages(bench::program& program, std::uint32_t pages) {
  constexpr std::size_t page_size = virtine::x86::page_size;
  const bench::floor_exit exit;
  std::vector<std::byte> from(pages * page_size, std::byte{1});
  std::vector<std::byte> to(pages * page_size);
  upwards_fn write;

  const std::string name = "reset.pages." + std::to_string(pages);
  bench::group rows({.samples = pages < 256 ? 2000U : 1000U});
  rows.floor(name + ".floor", [&] {
    exit();
    std::memcpy(to.data(), from.data(), from.size());
    bench::keep(to);
  });
  rows.row(name, [&] { bench::check(write(pages) == pages, "upwards(pages)"); });
  program.measure(std::move(rows));
}

/// The first call of a new machine, its creation included, that writes 256 pages: upwards, for
/// which pages ahead are made writable, and scattered, where each page costs a trap; and both when
/// a sibling has told of them.
void measure_first(bench::program& program) {
  constexpr std::uint32_t pages = 256;
  const auto snapshot =
      virtine::detail::shared_snapshot<virtine::detail::machine>(guests::writes::description)
          .value();
  const auto scattered = [] {
    scattered_fn write;
    bench::check(write(pages) == pages, "scattered(256)");
  };
  const auto upwards = [] {
    upwards_fn write;
    bench::check(write(pages) == pages, "upwards(256)");
  };
  const auto untold = [&](auto call) {
    return [&snapshot, call] {
      snapshot->learned().clear();
      const auto begin = bench::clock::now();
      call();
      return bench::microseconds(bench::clock::now() - begin);
    };
  };
  const auto told = [&](auto call) {
    return [&snapshot, call] {
      snapshot->learned().clear();
      call();
      const auto begin = bench::clock::now();
      call();
      return bench::microseconds(bench::clock::now() - begin);
    };
  };
  bench::group rows({.samples = 200, .burst = 1});
  rows.floor("reset.first.scattered.256", untold(scattered));
  rows.row("reset.first.upwards.256", untold(upwards));
  rows.row("reset.first.scattered.256.told", told(scattered));
  rows.row("reset.first.upwards.256.told", told(upwards));
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("reset", argc, argv);
  for (const std::uint32_t pages : {1U, 4U, 16U, 64U, 256U, 1024U}) measure_pages(program, pages);
  measure_first(program);
  return program.finish();
}
