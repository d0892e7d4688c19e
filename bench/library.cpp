// What a library costs in a guest, with the same library called natively as the floor: zlib,
// inflating and checking texts of several sizes, and what the tests have each library of
// docs/libraries.md do.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <zlib.h>
#include <guests/inflate.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "all.hpp"
#include "harness.hpp"

#define DECLARE(image, function, name) int function();
LIBRARIES(DECLARE)

namespace {

using bytes_in = std::span<const std::uint8_t>;
using bytes_out = std::span<std::uint8_t>;

// A text that compresses about as well as prose does.
std::vector<std::uint8_t> make_text(std::size_t size) {
  std::vector<std::uint8_t> out(size);
  std::uint32_t state = 1;
  for (auto& byte : out) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>("etaoin shrdlu.\n"[(state >> 24) * (state >> 24) / 4400]);
  }
  return out;
}

void measure(bench::program& program, std::size_t size, const std::string& name) {
  const auto text = make_text(size);
  std::vector<std::uint8_t> packed(compressBound(size));
  uLongf packed_size = packed.size();
  bench::check(compress(packed.data(), &packed_size, text.data(), size) == Z_OK, "compress");
  packed.resize(packed_size);
  std::vector<std::uint8_t> out(size);

  virtine::pool<guests::inflate> pool;
  virtine::virtine_fn<std::uint64_t(bytes_in, bytes_out), guests::inflate::inflate_all> inflate_all{
      pool};
  virtine::virtine_fn<std::uint32_t(bytes_in), guests::inflate::checksum> checksum{pool};

  bench::check(inflate_all(packed, out) == size && out == text, "the text came back");

  bench::group inflating({.samples = 500});
  inflating.floor("library.inflate." + name + ".native", [&] {
    uLongf written = size;
    bench::check(uncompress(out.data(), &written, packed.data(), packed.size()) == Z_OK, "native");
  });
  inflating.row("library.inflate." + name,
                [&] { bench::check(inflate_all(packed, out) == size, "inflate_all"); });
  program.measure(std::move(inflating));

  const auto expected = crc32(0, text.data(), static_cast<uInt>(size));
  bench::group checking({.samples = 500});
  checking.floor("library.crc32." + name + ".native", [&] {
    bench::check(crc32(0, text.data(), static_cast<uInt>(size)) == expected, "native");
  });
  checking.row("library.crc32." + name,
               [&] { bench::check(checksum(text) == expected, "checksum"); });
  program.measure(std::move(checking));
}

template <class Image>
void measure_library(bench::program& program, const std::string& name, int (*native)()) {
  auto policy = virtine::posix::minimal();
  const virtine::virtine_fn<int(), Image, decltype(policy)> guest{policy};
  bench::check(native() == 0 && guest() == 0, name);
  bench::group calls({.samples = 200});
  calls.floor("library." + name + ".native", [&] { bench::check(native() == 0, "native"); });
  calls.row("library." + name, [&] { bench::check(guest() == 0, "guest"); });
  program.measure(std::move(calls));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("library", argc, argv);
  measure(program, 1 << 10, "1K");
  measure(program, 64 << 10, "64K");
  measure(program, 1 << 20, "1M");
#define MEASURE(image, function, name) measure_library<guests::image>(program, name, function);
  LIBRARIES(MEASURE)
  return program.finish();
}
