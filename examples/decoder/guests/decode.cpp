// The guest: the libraries, which give the host one piece of the picture after the other.
// SPDX-License-Identifier: MIT
#include <virtine/guest.hpp>

#include "../shared.hpp"

namespace {

class host final : public decoder::sink {
 public:
  bool begin(std::uint32_t width, std::uint32_t height) override {
    return virtine::guest::call<decoder::begin_picture>(width, height);
  }
  void rows(std::span<const std::byte> pixels) override {
    virtine::guest::call<decoder::take_rows>(pixels);
  }
};

decoder::reply decode(std::span<const std::byte> file) {
  decoder::reply out;
  host to;
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
