// The guest: the libraries, which give the host one piece of the picture after the other.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

#include "../shared.hpp"

namespace {

class host final : public decoder::sink {
 public:
  explicit host(std::uint64_t max_pixels) : max_pixels_(max_pixels) {}

  bool begin(std::uint32_t width, std::uint32_t height) override {
    width_ = width;
    height_ = height;
    return std::uint64_t{width} * height <= max_pixels_;
  }
  void rows(std::span<const std::byte> pixels) override {
    virtine::guest::call<decoder::take_rows>(width_, height_, pixels);
  }

 private:
  std::uint64_t max_pixels_;
  std::uint32_t width_ = 0;
  std::uint32_t height_ = 0;
};

decoder::reply decode(std::span<const std::byte> file, std::uint64_t max_pixels) {
  decoder::reply out;
  host to(max_pixels);
  out.what = decoder::decode_into(file, to, out.why);
  return out;
}

// Takes a picture to nowhere.
class nobody final : public decoder::sink {
 public:
  bool begin(std::uint32_t, std::uint32_t) override { return true; }
  void rows(std::span<const std::byte>) override {}
};

// Decodes a pixel before the snapshot, so that every call finds the processor's features looked up
// and the tables made.
void prepare() {
  static constexpr unsigned char pixel[] = {
#include "pixel.inc"
  };
  decoder::words why{};
  nobody to;
  decoder::decode_into(std::as_bytes(std::span(pixel)), to, why);
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(decode);
