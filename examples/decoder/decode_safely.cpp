// A picture file in, a PPM file out, and whatever the picture does to its decoder, it does it in a
// virtual machine.
// Run: build/examples/decoder/decode-safely in.png out.ppm
// SPDX-License-Identifier: MIT
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "decoder.hpp"

namespace {

constexpr const char* usage =
    "usage: decode-safely [--max-pixels N] [--timeout MS] IN.png|IN.jpg OUT.ppm\n"
    "OUT may be -, for the standard output. Exit status: 0 decoded, 1 refused, 2 usage or files,\n"
    "3 the decoder was stopped, 77 there is no KVM.\n";

struct options {
  decoder::limits limits;
  std::string in, out;
};

bool parse_number(std::string_view text, std::uint64_t& number) {
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
  return wrong == std::errc() && end == text.data() + text.size();
}

bool parse(std::span<char*> words, options& given) {
  std::vector<std::string> files;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    std::uint64_t number = 0;
    if (!word.starts_with("--")) {
      files.emplace_back(word);
    } else if (++i == words.size() || !parse_number(words[i], number)) {
      return false;
    } else if (word == "--max-pixels") {
      given.limits.max_pixels = number;
    } else if (word == "--timeout" && number <= 1'000'000'000) {
      given.limits.timeout = std::chrono::milliseconds(number);
    } else {
      return false;
    }
  }
  if (files.size() != 2) return false;
  given.in = files[0];
  given.out = files[1];
  return true;
}

constexpr std::size_t most = std::size_t{256} << 20;

/// Reads a file, or somewhat more than `most` bytes of one that is longer or does not end.
std::vector<char> read(std::istream& from) {
  constexpr std::size_t piece = std::size_t{1} << 20;
  std::vector<char> out;
  while (from && out.size() <= most) {
    const std::size_t had = out.size();
    out.resize(had + piece);
    from.read(&out[had], piece);
    out.resize(had + static_cast<std::size_t>(from.gcount()));
  }
  return out;
}

bool write(std::ostream& to, const decoder::picture& made) {
  to << "P6\n" << made.width << ' ' << made.height << "\n255\n";
  const auto bytes = std::span(made.pixels);
  // Sound: char may alias any object.
  to.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return static_cast<bool>(to.flush());
}

int status_of(const decoder::refusal& why) {
  switch (why.what) {
    case decoder::refusal::kind::damaged:
    case decoder::refusal::kind::too_large:
      return 1;
    case decoder::refusal::kind::stopped:
      return 3;
    case decoder::refusal::kind::no_machine:
      return 77;
  }
  return 1;
}

}  // namespace

int main(int count, char** words) {
  options given;
  if (!parse({words, static_cast<std::size_t>(count)}, given)) return std::cerr << usage, 2;
  std::ifstream from(given.in, std::ios::binary);
  const std::vector<char> file = read(from);
  if (!from.is_open() || from.bad()) return std::cerr << given.in << " cannot be read\n", 2;
  if (file.size() > most) return std::cerr << given.in << " has more than 256 MiB\n", 1;

  const auto done = decoder::decode(std::as_bytes(std::span(file)), given.limits);
  if (const auto* const why = std::get_if<decoder::refusal>(&done)) {
    std::cerr << given.in << ": " << why->text << '\n';
    return status_of(*why);
  }
  const auto& made = std::get<decoder::picture>(done);
  std::ofstream to(given.out == "-" ? "/dev/stdout" : given.out, std::ios::binary);
  if (!to.is_open() || !write(to, made)) return std::cerr << given.out << " cannot be written\n", 2;
  return 0;
}
