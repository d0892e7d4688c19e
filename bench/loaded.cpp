// What it costs that an image is loaded at run time: for a warmed call, by its type, by values and
// from C, compared with the same image compiled in; for loading; and up to the first result.
// SPDX-License-Identifier: MIT
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <vector>

#include <virtine/c/virtine.h>
#include <guests/sized_1MiB.hpp>
#include <guests/square.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/value.hpp>
#include <virtine/virtine.hpp>

#include "../tests/image_bytes.hpp"
#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

template <class Entry>
image_bytes file_of() {
  return {Entry::image::description,
          {{Entry::name, Entry::signature, Entry::address, Entry::imports}}};
}

void measure_calls(bench::program& program) {
  virtine::virtine_fn<int(int), guests::square> compiled_in;
  const image_bytes file = file_of<guests::square::only_entry>();
  auto image = virtine::load_image(std::span<const std::byte>(file.bytes));
  bench::check(image.has_value(), "load_image");
  auto loaded = image->function<int(int)>("square").value();
  const auto by_values = image->dynamic("square").value();
  virtine_image* c_image = nullptr;
  virtine_function* in_c = nullptr;
  bench::check(virtine_load_bytes(file.bytes.data(), file.bytes.size(), nullptr, &c_image,
                                  nullptr) == VIRTINE_OK &&
                   virtine_function_create(c_image, "square", nullptr, nullptr, &in_c, nullptr) ==
                       VIRTINE_OK,
               "virtine_function_create");

  bench::group rows;
  rows.floor("loaded.call.floor", [&] { bench::check(compiled_in(3) == 9, "square(3)"); });
  rows.row("loaded.call", [&] { bench::check(loaded(3) == 9, "square(3)"); });
  rows.row("loaded.value", [&] {
    virtine::value three = 3;
    bench::check(by_values(std::span(&three, 1)) == virtine::value(9U), "square(3)");
  });
  rows.row("c.call", [&] {
    const virtine_value three = virtine_of_int(3);
    virtine_value result = VIRTINE_VALUE_INIT;
    bench::check(virtine_call(in_c, &three, 1, &result, nullptr, nullptr) == VIRTINE_OK &&
                     result.as.natural == 9,
                 "square(3)");
    virtine_value_clear(&result);
  });
  program.measure(std::move(rows));
  virtine_function_free(in_c);
  virtine_image_free(c_image);
}

void measure_loading(bench::program& program) {
  const image_bytes bytes = file_of<guests::sized_1MiB::at>();
  const virtine::os::fd file(::memfd_create("image", MFD_CLOEXEC));
  bench::check(::write(file.get(), bytes.bytes.data(), bytes.bytes.size()) ==
                   static_cast<::ssize_t>(bytes.bytes.size()),
               "write");

  // The floor reads the file to memory that is as new as what a load reads it to.
  bench::group rows({.samples = 1000, .burst = 5});
  rows.floor("loaded.load.1M.floor", [&] {
    std::vector<std::byte> content(bytes.bytes.size());
    bench::check(::pread(file.get(), content.data(), content.size(), 0) ==
                     static_cast<::ssize_t>(content.size()),
                 "pread");
    bench::keep(content.data());
  });
  rows.row("loaded.load.1M", [&] {
    auto image = virtine::load_image(file.get());
    bench::check(image.has_value(), "load_image");
  });
  program.measure(std::move(rows));
}

void measure_first(bench::program& program) {
  const image_bytes file = file_of<guests::square::only_entry>();
  bench::group rows({.samples = 200, .burst = 1});
  rows.floor("loaded.first.floor", [] { bench::floor_exit{}(); });
  rows.row("loaded.first", [&] {
    auto image = virtine::load_image(std::span<const std::byte>(file.bytes));
    bench::check(image.has_value(), "load_image");
    bench::check(image->function<int(int)>("square").value()(3) == 9, "square(3)");
  });
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("loaded", argc, argv);
  measure_calls(program);
  measure_loading(program);
  measure_first(program);
  return program.finish();
}
