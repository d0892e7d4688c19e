// The decoder as WebAssembly: what guests/decode.cpp of the example is for a virtine. Its imports
// are what that asks of its host.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "codec.hpp"

#define IMPORT(name) __attribute__((import_module("host"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

extern "C" {
IMPORT("begin") int host_begin(std::uint32_t width, std::uint32_t height);
IMPORT("rows") void host_rows(const std::byte* pixels, std::size_t size);
EXPORT("take") void* take(std::size_t size);
EXPORT("decode") std::uint32_t decode(const std::byte* file, std::size_t size);
EXPORT("give_back") void give_back(void* file);
}

namespace {

class host final : public decoder::sink {
 public:
  bool begin(std::uint32_t width, std::uint32_t height) override {
    return host_begin(width, height) != 0;
  }
  void rows(std::span<const std::byte> pixels) override { host_rows(pixels.data(), pixels.size()); }
};

}  // namespace

// Room for a file, which the host writes.
void* take(std::size_t size) {
  return std::malloc(size);
}

std::uint32_t decode(const std::byte* file, std::size_t size) {
  host to;
  decoder::words why{};
  return static_cast<std::uint32_t>(decoder::decode_into({file, size}, to, why));
}

void give_back(void* file) {
  std::free(file);
}
