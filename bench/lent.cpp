// What it costs to lend a guest 64 MiB, beside copying them in: the first call with them, later
// ones, and calls that take turns with calls that are lent something else.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <span>

#include <guests/bulk_64MiB.hpp>
#include <virtine/virtine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

using image = guests::bulk_64MiB;
using bytes = std::span<const std::byte>;
using lent = virtine::lent<const std::byte>;
using word = unsigned long;

constexpr std::size_t size = std::size_t{64} << 20;
constexpr word total = 3 * size / 64;  // Of a byte in each cache line.

virtine::lent_memory threes() {
  auto made = virtine::lent_memory::allocate(size).value();
  std::ranges::fill(made.bytes(), std::byte{3});
  return made;
}

/// Runs `call` on a machine that another call has used.
template <class Fn, class Argument>
bench::microseconds time_first(const Argument& argument) {
  virtine::pool<image> pool;
  virtine::virtine_fn<word(bytes), image::size> warm{pool};
  bench::check(warm(bytes()) == 0, "size(nothing)");
  Fn fn{pool};
  const auto begin = bench::clock::now();
  const word result = fn(argument);
  const bench::microseconds took = bench::clock::now() - begin;
  bench::check(result == total, "the first lines(data)");
  return took;
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("lent", argc, argv);
  const virtine::lent_memory memory = threes();
  const virtine::lent_memory other = threes();
  const bytes data = memory.bytes();

  virtine::pool<image> pool({.max = 1});
  virtine::virtine_fn<word(bytes), image::size> size_of{pool};
  virtine::virtine_fn<word(bytes), image::lines> lines{pool};
  virtine::pool<image> lending({.max = 1});
  virtine::virtine_fn<word(lent), image::size> size_of_lent{lending};
  virtine::virtine_fn<word(lent), image::lines> lines_of_lent{lending};

  const bench::floor_exit exit;
  bench::group calls({.samples = 200, .burst = 10});
  calls.floor("lent.floor", [&] { exit(); });
  calls.row("lent.empty", [&] { bench::check(size_of(bytes()) == 0, "size(nothing)"); });
  calls.row("lent.64M", [&] { bench::check(size_of_lent(memory) == size, "size(lent)"); });
  calls.row("lent.64M.turns", [&, turn = false]() mutable {
    turn = !turn;
    bench::check(size_of_lent(turn ? other : memory) == size, "size(lent)");
  });
  program.measure(std::move(calls));

  bench::group reading({.samples = 20, .burst = 1});
  reading.floor("lent.64M.native", [&] {
    word found = 0;
    for (std::size_t i = 0; i < size; i += 64) found += std::to_integer<word>(data[i]);
    bench::check(found == total, "the program's own sum");
  });
  reading.row("lent.64M.read",
              [&] { bench::check(lines_of_lent(memory) == total, "lines(lent)"); });
  reading.row("lent.64M.copied.read", [&] { bench::check(lines(data) == total, "lines(copied)"); });
  program.measure(std::move(reading));

  bench::group first({.samples = 10, .burst = 1});
  first.row("lent.64M.first.read",
            [&] { return time_first<virtine::virtine_fn<word(lent), image::lines>>(memory); });
  first.row("lent.64M.first.copied.read",
            [&] { return time_first<virtine::virtine_fn<word(bytes), image::lines>>(data); });
  program.measure(std::move(first));
  return program.finish();
}
