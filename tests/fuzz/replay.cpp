// Gives a fuzz target the files that are named, and each of them cut and with bits flipped: what
// every compiler can do of fuzzing.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int count, char** names) {
  std::size_t ran = 0;
  const auto give = [&](const std::vector<std::uint8_t>& bytes) {
    // Of its own, so that a sanitizer sees what reads beyond it.
    const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(input.data(), input.size());
    ++ran;
  };
  for (int i = 1; i < count; ++i) {
    std::ifstream file(names[i], std::ios::binary);
    std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    if (bytes.empty()) {
      std::printf("%s cannot be read, or is empty\n", names[i]);
      return 1;
    }
    give(bytes);
    // A stride that has no factor in common with what structures consist of.
    for (std::size_t at = 0; at < bytes.size(); at += bytes.size() / 1'000 * 2 + 1) {
      give({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at)});
      const std::uint8_t was = bytes[at];
      bytes[at] ^= static_cast<std::uint8_t>(1U << at % 8);
      give(bytes);
      bytes[at] = 0xff;
      give(bytes);
      bytes[at] = was;
    }
  }
  std::printf("%zu inputs\n", ran);
  return count > 1 ? 0 : 1;
}
