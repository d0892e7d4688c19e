// Writes pages in an order that its host chooses, and says what it finds where nothing should be.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/guest.hpp>

namespace {

constexpr std::size_t page_words = 4096 / sizeof(std::uint64_t);
constexpr std::size_t page_count = 300;

alignas(4096) std::uint64_t memory[page_count][page_words];
// Its first byte is zero, as if all of it were.
alignas(4096) std::uint64_t initialised[page_words] = {0x100, 0x200, 0x300};

constexpr std::uint64_t pattern(std::uint64_t seed, std::size_t page, std::size_t word) {
  return (seed ^ page * 0x9e3779b97f4a7c15) + word * 0xff51afd7ed558ccd + 1;
}

// Writes `count` pages, the first being `first` and each the one `stride` after the last, all of
// each page. Returns how many words were not as in a fresh machine, or not as just written.
std::uint64_t scribble(std::uint64_t seed, std::uint32_t first, std::uint32_t count,
                       std::uint32_t stride) {
  std::uint64_t wrong = 0;
  for (auto& page : memory) {
    for (const std::uint64_t word : page) wrong += word != 0;
  }
  for (std::size_t i = 0; i < page_words; ++i)
    wrong += initialised[i] != (i < 3 ? (i + 1) << 8 : 0);

  std::size_t at = first % page_count;
  for (std::uint32_t i = 0; i < count; ++i, at = (at + stride) % page_count) {
    for (std::size_t word = 0; word < page_words; ++word) {
      // Every other page from its end, so that the first write is not always to the first word.
      const std::size_t where = i % 2 == 0 ? word : page_words - 1 - word;
      memory[at][where] = pattern(seed, at, where);
    }
  }
  at = first % page_count;
  for (std::uint32_t i = 0; i < count; ++i, at = (at + stride) % page_count) {
    for (std::size_t word = 0; word < page_words; ++word) {
      wrong += memory[at][word] != pattern(seed, at, word);
    }
  }
  return wrong;
}

std::uint64_t overwrite_initialised(std::uint64_t value) {
  for (std::uint64_t& word : initialised) word = value;
  return initialised[page_words - 1];
}

std::uint64_t sum_initialised() {
  std::uint64_t sum = 0;
  for (const std::uint64_t word : initialised) sum += word;
  return sum;
}

int counted() {
  static int calls = 0;
  return ++calls;
}

int computed_once(int n) {
  static int first = n;
  return first;
}

}  // namespace

VIRTINE_EXPORT(scribble);
VIRTINE_EXPORT(overwrite_initialised);
VIRTINE_EXPORT(sum_initialised);
VIRTINE_EXPORT(counted);
VIRTINE_EXPORT(computed_once);
