// Gives a fuzz target inputs, and each of them cut and with bits flipped: what every compiler can
// do of fuzzing. An input is a file that is named, or a line of hexadecimal digits in one whose
// name ends with .hex. After --as-they-are, inputs are given as they are.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using bytes = std::vector<std::uint8_t>;

std::size_t ran = 0;

void give(std::span<const std::uint8_t> from) {
  // Of its own, so that a sanitizer sees what reads beyond it.
  const bytes input(from.begin(), from.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  ++ran;
}

void give_damaged(bytes input) {
  // A stride that has no factor in common with what structures consist of.
  for (std::size_t at = 0; at < input.size(); at += input.size() / 1'000 * 2 + 1) {
    give(std::span(input).first(at));
    const std::uint8_t was = input[at];
    input[at] ^= static_cast<std::uint8_t>(1U << at % 8);
    give(input);
    input[at] = 0xff;
    give(input);
    input[at] = was;
  }
}

std::vector<bytes> inputs_of(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  if (!name.ends_with(".hex")) return {bytes{std::istreambuf_iterator<char>(file), {}}};
  std::vector<bytes> out;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    bytes& input = out.emplace_back();
    for (std::size_t i = 0; i + 1 < line.size(); i += 2) {
      input.push_back(static_cast<std::uint8_t>(std::stoul(line.substr(i, 2), nullptr, 16)));
    }
  }
  return out;
}

}  // namespace

int main(int count, char** arguments) {
  std::span<char*> names(arguments, static_cast<std::size_t>(count));
  names = names.subspan(1);
  const bool damage = names.empty() || std::string_view(names[0]) != "--as-they-are";
  if (!damage) names = names.subspan(1);
  for (const char* const name : names) {
    const auto inputs = inputs_of(name);
    if (inputs.empty() || inputs[0].empty()) {
      std::printf("%s cannot be read, or is empty\n", name);
      if (damage) return 1;
    }
    for (const bytes& input : inputs) {
      give(input);
      if (damage) give_damaged(input);
    }
  }
  std::printf("%zu inputs\n", ran);
  return names.empty() ? 1 : 0;
}
