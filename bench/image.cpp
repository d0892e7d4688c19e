// What an image's size and its initialiser cost: in a warmed call, and in the first one of a
// machine. Sizes are bytes of data with content that the guest may write (guests/sized). Images of
// the sizes of the virtines paper (its Figure 12) are made when the program runs.
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <guests/primes.hpp>
#include <guests/sized_16KiB.hpp>
#include <guests/sized_16MiB.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/snapshot_file.hpp>
#include <virtine/virtine.hpp>

#include "../tests/image_bytes.hpp"
#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

constexpr std::uint32_t small_size = 16 << 10;
constexpr std::uint32_t large_size = 16 << 20;

template <class Image>
using at_fn = virtine::virtine_fn<unsigned char(unsigned), typename Image::at>;

template <class At>
void check_at(At& at, std::uint32_t index) {
  bench::check(at(index) == "0123456789abcdef"[index % 16], "at(index)");
}

void measure_calls(bench::program& program) {
  at_fn<guests::sized_16KiB> small;
  at_fn<guests::sized_16MiB> large;

  // Four pages in turn, which are all that the small image has, and lie far apart in the large one.
  bench::group rows;
  rows.floor("image.16KiB", [&, n = 0U]() mutable { check_at(small, ++n % 4 * (small_size / 4)); });
  rows.row("image.16MiB", [&, n = 0U]() mutable { check_at(large, ++n % 4 * (large_size / 4)); });
  program.measure(std::move(rows));
}

// A machine is made, makes one call, and goes.
template <class Image>
void call_once() {
  at_fn<Image> once;
  check_at(once, 5);
}

void measure_creation(bench::program& program) {
  // Alone: without another machine of the image in the process, whose snapshot a new one could use.
  bench::group alone({.samples = 200, .burst = 1});
  alone.floor("image.cold.alone.floor", [] { bench::floor_exit{}(); });
  alone.row("image.cold.alone.16KiB", call_once<guests::sized_16KiB>);
  alone.row("image.cold.alone.16MiB", call_once<guests::sized_16MiB>);
  program.measure(std::move(alone));

  at_fn<guests::sized_16KiB> small;
  at_fn<guests::sized_16MiB> large;
  check_at(small, 0);
  check_at(large, 0);
  bench::group rows({.samples = 300, .burst = 1});
  rows.floor("image.cold.floor", [] { bench::floor_exit{}(); });
  rows.row("image.cold.16KiB", call_once<guests::sized_16KiB>);
  rows.row("image.cold.16MiB", call_once<guests::sized_16MiB>);
  program.measure(std::move(rows));
}

/// Returns an image file that is the largest image with only `size` bytes of its data.
image_bytes file_of(std::size_t size) {
  using at = guests::sized_16MiB::at;
  std::vector<virtine::segment> segments(guests::sized_16MiB::description.segments.begin(),
                                         guests::sized_16MiB::description.segments.end());
  for (virtine::segment& each : segments) {
    if (each.content.size() < large_size) continue;
    each.content = each.content.substr(0, size);
    each.memory_size = (size + virtine::x86::page_size - 1) & -virtine::x86::page_size;
  }
  virtine::image_description image = guests::sized_16MiB::description;
  image.segments = segments;
  return {image, {{at::name, at::signature, at::address, at::imports}}};
}

void measure_sizes(bench::program& program) {
  for (std::size_t size = 32; size <= large_size; size *= 2) {
    auto image = virtine::load_image(std::span<const std::byte>(file_of(size).bytes));
    bench::check(image.has_value(), "load_image");
    const auto make = [&] { return image->function<unsigned char(unsigned)>("at").value(); };
    auto at = make();
    std::vector<char> from(size, 'x');
    std::vector<char> to(size);

    // `copy` is what restoring an image by copying all of it costs at least.
    const std::string name = "image.size." + std::to_string(size);
    bench::group rows({.samples = 200, .burst = 10});
    const bench::floor_exit exit;
    rows.floor(name + ".exit", [&] { exit(); });
    rows.row(name + ".call", [&] { check_at(at, 5); });
    rows.row(name + ".copy", [&] {
      std::memcpy(to.data(), from.data(), size);
      bench::keep(to);
    });
    rows.row(name + ".new", [&] {
      at.pool().trim(0);
      check_at(at, 5);
    });
    program.measure(std::move(rows));
  }
}

void call_prime() {
  virtine::virtine_fn<bool(std::uint32_t), guests::primes> is_prime;
  bench::check(is_prime(262139), "is_prime(262139)");
}

void measure_initialisers(bench::program& program) {
  std::string directory = std::filesystem::temp_directory_path() / "virtine-bench-XXXXXX";
  bench::check(mkdtemp(directory.data()) != nullptr, "temporary directory");
  const std::string file = directory + "/primes";
  bench::check(virtine::save_snapshot<guests::primes>(file).has_value(), "save_snapshot");

  // First calls: nothing is held, so the initialiser runs; the snapshot comes from a file.
  bench::group first({.samples = 100, .burst = 1});
  first.floor("image.init.floor", [] { bench::floor_exit{}(); });
  first.row("image.init.run", call_prime);
  first.row("image.init.loaded", [&] {
    const auto loaded = virtine::load_snapshot<guests::primes>(file);
    bench::check(loaded.has_value(), "load_snapshot");
    call_prime();
  });
  program.measure(std::move(first));

  // And the same while another machine holds the snapshot.
  virtine::virtine_fn<bool(std::uint32_t), guests::primes> other;
  bench::check(other(262139), "is_prime(262139)");
  bench::group rows({.samples = 300, .burst = 1});
  rows.floor("image.init.held.floor", [] { bench::floor_exit{}(); });
  rows.row("image.init.held", call_prime);
  program.measure(std::move(rows));
  std::filesystem::remove_all(directory);
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("image", argc, argv);
  measure_calls(program);
  measure_creation(program);
  measure_sizes(program);
  measure_initialisers(program);
  return program.finish();
}
