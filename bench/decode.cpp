// What decoding a picture costs: in a virtine, and in a child that may make no system call but for
// memory, with the same libraries called natively as the floor. As decode-wasm2c also as
// WebAssembly that wasm2c has made C of: in an instance that is kept, and in a new one for each
// picture, which is the isolation of a virtine.
// SPDX-License-Identifier: MIT
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "../examples/calls_only.hpp"
#include "codec.hpp"
#include "decoder.hpp"
#include "harness.hpp"
#include "pictures.hpp"
#ifdef DECODE_WASM2C
#include "decode/sandbox.hpp"
#endif

namespace {

using bytes = std::vector<std::byte>;

/// Memory that is shared with a child, for one picture.
class shared_pixels {
 public:
  explicit shared_pixels(std::size_t size) : size_(size) {
    void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench::check(at != MAP_FAILED, "mmap");
    at_ = static_cast<std::byte*>(at);
  }
  shared_pixels(const shared_pixels&) = delete;
  shared_pixels& operator=(const shared_pixels&) = delete;
  ~shared_pixels() { munmap(at_, size_); }

  [[nodiscard]] std::span<std::byte> view() const { return {at_, size_}; }

 private:
  std::byte* at_ = nullptr;
  std::size_t size_;
};

/// Writes rows to memory that is there.
class shared_sink final : public decoder::sink {
 public:
  explicit shared_sink(std::span<std::byte> to) : to_(to) {}

  bool begin(std::uint32_t width, std::uint32_t height) override {
    return std::size_t{width} * height * 3 <= to_.size();
  }
  void rows(std::span<const std::byte> pixels) override {
    std::memcpy(to_.data() + used_, pixels.data(), pixels.size());
    used_ += pixels.size();
  }

 private:
  std::span<std::byte> to_;
  std::size_t used_ = 0;
};

/// Leaves this process nothing but memory and its end.
bool enter_seccomp() {
  constexpr std::array<calls_only::rule, 5> rules{
      {{SYS_brk}, {SYS_mmap}, {SYS_munmap}, {SYS_mremap}, {SYS_exit_group}}};
  return calls_only::confine(rules, 0, SECCOMP_RET_KILL_PROCESS);
}

/// Decodes a file in a child of its own.
bool decode_in_child(const bytes& file, std::span<std::byte> to) {
  const pid_t child = fork();
  if (child == 0) {
    shared_sink sink(to);
    decoder::words why{};
    _exit(enter_seccomp() && decoder::decode_into(file, sink, why) == decoder::outcome::decoded
              ? 0
              : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

bytes decode_natively(const bytes& file) {
  pictures::collector all;
  decoder::words why{};
  bench::check(decoder::decode_into(file, all, why) == decoder::outcome::decoded, "native");
  return std::move(all.pixels);
}

bytes decode_in_virtine(const bytes& file) {
  auto done = decoder::decode(file);
  bench::check(std::holds_alternative<decoder::picture>(done), "virtine");
  return std::move(std::get<decoder::picture>(done).pixels);
}

#ifdef DECODE_WASM2C
bytes decode_in_wasm(wasm::sandbox& in, const bytes& file) {
  pictures::collector all;
  bench::check(in.decode(file, all) == decoder::outcome::decoded, "wasm2c");
  return std::move(all.pixels);
}

void add_wasm_rows(bench::group& rows, const bytes& file, const std::string& name,
                   const bytes& expected) {
  auto kept = std::make_shared<wasm::sandbox>();
  bench::check(decode_in_wasm(*kept, file) == expected, name + ": the WebAssembly's pixels");
  rows.row("decode." + name + ".wasm2c",
           [kept, &file] { bench::keep(decode_in_wasm(*kept, file).data()); });
  rows.row("decode." + name + ".wasm2c.new", [&] {
    wasm::sandbox once;
    bench::keep(decode_in_wasm(once, file).data());
  });
}
#endif

void measure(bench::program& program, const bytes& file, const std::string& name,
             std::size_t samples) {
  const bytes expected = decode_natively(file);
  bench::check(decode_in_virtine(file) == expected, name + ": the virtine's pixels");
  const auto in_child = [&] {
    const shared_pixels to(expected.size());
    bench::check(decode_in_child(file, to.view()), "child");
    return std::ranges::equal(to.view(), expected);
  };
  bench::check(in_child(), name + ": the child's pixels");

  bench::group rows({.samples = samples, .burst = 4});
  rows.floor("decode." + name + ".native", [&] { bench::keep(decode_natively(file).data()); });
  rows.row("decode." + name, [&] { bench::keep(decode_in_virtine(file).data()); });
  rows.row("decode." + name + ".child", [&] {
    const shared_pixels to(expected.size());
    bench::check(decode_in_child(file, to.view()), "child");
    bench::keep(to.view().data());
  });
#ifdef DECODE_WASM2C
  add_wasm_rows(rows, file, name, expected);
#endif
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("decode", argc, argv);
  struct size {
    const char* name;
    std::uint32_t width, height;
    std::size_t samples;
  };
  constexpr std::array<size, 3> sizes{
      {{"100K", 400, 250, 400}, {"1M", 1250, 800, 100}, {"10M", 4000, 2500, 20}}};
  for (const size& each : std::span(sizes).first(program.is_short() ? 2 : 3)) {
    const std::string name = each.name;
    measure(program, pictures::png(each.width, each.height, {}), "png." + name, each.samples);
    measure(program, pictures::jpeg(each.width, each.height, {}), "jpeg." + name, each.samples);
  }
  return program.finish();
}
