// Makes pictures for the tests, decodes files natively, to compare with, and damages files.
// usage: decoder-samples make DIRECTORY | native IN OUT.ppm | mutate SEED FROM TO
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include "codec.hpp"
#include "pictures.hpp"

namespace {

using bytes = std::vector<std::byte>;

bytes read(const std::string& path) {
  std::ifstream from(path, std::ios::binary);
  const std::vector<char> all{std::istreambuf_iterator<char>(from), {}};
  const auto view = std::as_bytes(std::span(all));
  return {view.begin(), view.end()};
}

void write(const std::string& path, std::string_view head, std::span<const std::byte> content) {
  std::ofstream to(path, std::ios::binary);
  to << head;
  to.write(reinterpret_cast<const char*>(content.data()),
           static_cast<std::streamsize>(content.size()));
}

void make(const std::string& folder) {
  const auto put = [&](const char* name, const bytes& file) {
    write(folder + '/' + name, "", file);
  };
  put("rgb.png", pictures::png(200, 150, {}));
  put("gray.png", pictures::png(64, 64, {.is_gray = true}));
  put("alpha16.png", pictures::png(40, 40, {.has_alpha = true, .bits = 16}));
  put("interlaced.png", pictures::png(123, 77, {.is_interlaced = true}));
  put("colour.jpg", pictures::jpeg(200, 150, {}));
  put("gray.jpg", pictures::jpeg(64, 64, {.is_gray = true}));
  put("progressive.jpg", pictures::jpeg(123, 77, {.is_progressive = true}));
  // Some 60 KiB that would be 192 MB of pixels.
  put("bomb.png", pictures::png(8000, 8000, {.is_gray = true, .is_empty = true}));
}

int decode_natively(const std::string& from, const std::string& to) {
  pictures::collector all;
  decoder::words why{};
  const bytes file = read(from);
  if (decoder::decode_into(file, all, why) != decoder::outcome::decoded) return 1;
  write(to, "P6\n" + std::to_string(all.width) + ' ' + std::to_string(all.height) + "\n255\n",
        all.pixels);
  return 0;
}

// Gives each chunk of a PNG file the checksum of what it holds, so that damage gets beyond it.
void repair_checksums(bytes& file) {
  const auto big_endian = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = at; i < at + 4; ++i) value = value << 8 | std::uint32_t(file[i]);
    return value;
  };
  // Size and kind stand before what a chunk holds, the checksum behind it.
  constexpr std::size_t head = 8, tail = 4;
  std::size_t at = 8;
  if (file.size() < at || file[0] != std::byte{0x89}) return;
  while (file.size() - at >= head + tail && big_endian(at) <= file.size() - at - head - tail) {
    const std::uint32_t size = big_endian(at);
    const auto* const from = reinterpret_cast<const Bytef*>(file.data() + at + 4);
    const auto sum = static_cast<std::uint32_t>(crc32(0, from, size + 4));
    at += head + size;
    for (int shift = 24; shift >= 0; shift -= 8) file[at++] = static_cast<std::byte>(sum >> shift);
  }
}

// As fuzzers do: bits flipped, bytes replaced by extreme ones, pieces cut out, doubled, or moved.
void mutate(unsigned seed, const std::string& from, const std::string& to) {
  std::mt19937 random(seed);
  bytes file = read(from);
  const auto below = [&](std::size_t end) { return static_cast<std::size_t>(random()) % end; };
  for (std::size_t times = 1 + below(8); times > 0 && file.size() > 32; --times) {
    // The first bytes stay more often, or nothing but the first check would ever see a file.
    const std::size_t at = below(8) == 0 ? below(file.size()) : 8 + below(file.size() - 8);
    const std::size_t size = 1 + below(std::min<std::size_t>(64, file.size() - at));
    const auto place = file.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = place + static_cast<std::ptrdiff_t>(size);
    switch (below(5)) {
      case 0:
        *place ^= std::byte{1} << below(8);
        break;
      case 1: {
        constexpr std::byte extreme[] = {std::byte{0}, std::byte{0x7f}, std::byte{0x80},
                                         std::byte{0xff}};
        *place = extreme[below(4)];
        break;
      }
      case 2:
        file.erase(place, end);
        break;
      case 3: {
        const bytes piece(place, end);
        file.insert(place, piece.begin(), piece.end());
        break;
      }
      default:
        file.resize(at);
    }
  }
  if (seed % 2 == 0) repair_checksums(file);
  write(to, "", file);
}

}  // namespace

int main(int count, char** words) {
  const std::string_view what = count > 1 ? words[1] : "";
  if (what == "make" && count == 3) return make(words[2]), 0;
  if (what == "native" && count == 4) return decode_natively(words[2], words[3]);
  if (what == "mutate" && count == 5) {
    mutate(static_cast<unsigned>(std::atoi(words[2])), words[3], words[4]);
    return 0;
  }
  return 2;
}
