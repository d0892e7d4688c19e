// Unpacks what somebody sent, with the zlib of the distribution, in virtual machines: whatever the
// stream does to zlib, it does it there.
// Run: build/examples/untrusted
// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include <zlib.h>
#include <virtine/virtine.hpp>

#include "untrusted.guest.hpp"  // virtine-cc makes it of this file and libz.a

using bytes = std::vector<std::uint8_t>;

struct unpacked {
  std::int32_t code = Z_OK;
  std::uint32_t size = 0;
};

VIRTINE(unpack, (std::span<const std::uint8_t> from, std::span<std::uint8_t> to) -> unpacked) {
  uLongf size = to.size();
  const int code = uncompress(to.data(), &size, from.data(), from.size());
  return {code, static_cast<std::uint32_t>(size)};
}

// Says how much would come of it, which takes as long as there is something.
VIRTINE(unpacked_size, (std::span<const std::uint8_t> from) -> std::uint64_t) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return 0;
  stream.next_in = const_cast<Bytef*>(from.data());
  stream.avail_in = static_cast<uInt>(from.size());
  std::uint8_t piece[16384];
  do {
    stream.next_out = piece;
    stream.avail_out = sizeof piece;
  } while (inflate(&stream, Z_NO_FLUSH) == Z_OK);
  return stream.total_out;
}

namespace {

using namespace std::chrono_literals;

bytes pack(const bytes& plain) {
  bytes packed(compressBound(plain.size()));
  uLongf size = packed.size();
  compress(packed.data(), &size, plain.data(), plain.size());
  packed.resize(size);
  return packed;
}

// Returns what a call takes in microseconds, as the mean of many.
template <class Call>
double cost(const Call& call) {
  constexpr int calls = 200;
  call();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  return took.count() / calls;
}

void show(const char* what, const virtine::result<unpacked>& outcome) {
  if (!outcome) {
    std::printf("%-10s %s\n", what, virtine::to_string(outcome.error()).c_str());
  } else if (outcome->code == Z_OK) {
    std::printf("%-10s %u bytes\n", what, outcome->size);
  } else {
    std::printf("%-10s zlib says %d\n", what, outcome->code);
  }
}

void run() {
  bytes letter;
  while (letter.size() < 40'000) {
    for (char c : std::string_view("Dear reader, ")) {
      letter.push_back(
          static_cast<std::uint8_t>(static_cast<unsigned char>(c) + letter.size() / 13 % 3));
    }
  }
  const bytes packed = pack(letter);
  bytes damaged = packed;
  damaged[damaged.size() / 2] ^= 0x55;
  const bytes bomb = pack(bytes(64 << 20, 0));

  // What it may take is the caller's choice: there is room for so much and no more.
  bytes out(64 << 10);
  show("letter", unpack.try_call(packed, out));
  show("damaged", unpack.try_call(damaged, out));
  show("bomb", unpack.try_call(bomb, out));

  // And so is the time.
  const auto size = unpacked_size.with({.timeout = 5ms}).try_call(bomb);
  std::printf("%-10s %s\n", "its size", size ? "?" : virtine::to_string(size.error()).c_str());
  std::printf("%-10s %llu bytes\n", "the letter",
              static_cast<unsigned long long>(unpacked_size(packed)));

  uLongf native = 0;
  std::printf("in a machine of its own  %8.1f us\n", cost([&] { unpack(packed, out); }));
  std::printf("in this process          %8.1f us\n", cost([&] {
                native = out.size();
                uncompress(out.data(), &native, packed.data(), packed.size());
              }));
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// letter     40001 bytes
// damaged    zlib says -3
// bomb       zlib says -5
// its size   timed_out: the call was not done at its deadline (call_options::timeout)
// the letter 40001 bytes
// in a machine of its own  ... us
// in this process          ... us
