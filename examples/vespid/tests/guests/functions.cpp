// The functions that the tests deploy: good ones, and one for each way of going wrong.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

#include "../../guests/vespid.hpp"

namespace {

int square(int n) {
  return n * n;
}

int fib(int n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

// Returns the same bytes in reverse.
virtine::bytes<1024> turn(std::span<const std::byte> bytes) {
  std::array<std::byte, 1024> out{};
  const std::size_t size = std::min(bytes.size(), out.size());
  std::reverse_copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size), out.begin());
  // Sound: bytes are characters.
  return virtine::bytes<1024>::truncated({reinterpret_cast<const char*>(out.data()), size});
}

// Writes `text` as often as its first character says.
std::size_t repeat(std::string_view text, std::span<char> out) {
  const auto times = static_cast<std::size_t>(text.empty() ? 0 : text[0] - '0');
  std::size_t size = 0;
  for (std::size_t i = 0; i < times; ++i) {
    for (const char each : text) {
      if (size < out.size()) out[size] = each;
      ++size;
    }
  }
  return size;
}

void doubled(std::span<double> numbers) {
  for (double& each : numbers) each *= 2;
}

// Counts calls, by key.
std::int64_t count(std::string_view key) {
  std::array<char, 24> text{};
  std::int64_t number = 0;
  const std::int64_t size = virtine::guest::call<vespid::get>(key, std::span<char>(text));
  if (size < -1) return size;
  if (size > 0) std::from_chars(text.data(), text.data() + size, number);
  ++number;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  const std::string_view value(text.data(), static_cast<std::size_t>(end - text.data()));
  const std::int64_t kept = virtine::guest::call<vespid::put>(key, value);
  return kept == 0 ? number : kept;
}

int print(std::string_view text) {
  std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
  return 0;
}

// Computes for some time, then returns `n`.
int slow_first(int n) {
  volatile int sum = 0;
  for (int i = 0; i < 200'000'000; ++i) sum = sum + i;
  return n;
}
int slow_second(int n) {
  return -n;
}

int spin() {
  for (volatile int i = 0;; i = i + 1) {
  }
}

int crash(int n) {
  volatile int* const nowhere = nullptr;
  return n > 0 ? *nowhere : n;
}

// Prints without end.
int flood() {
  for (;;) std::puts("a line of a flood, which nobody wants to read and which does not end");
}

// Says that its result has 100 MB.
std::size_t huge(std::string_view, std::span<char>) {
  return 100'000'000;
}

}  // namespace

VIRTINE_EXPORT(square);
VIRTINE_EXPORT(fib);
VIRTINE_EXPORT(turn);
VIRTINE_EXPORT(repeat);
VIRTINE_EXPORT(doubled);
VIRTINE_EXPORT(count);
VIRTINE_EXPORT(print);
VIRTINE_EXPORT(slow_first);
VIRTINE_EXPORT(slow_second);
VIRTINE_EXPORT(spin);
VIRTINE_EXPORT(crash);
VIRTINE_EXPORT(flood);
VIRTINE_EXPORT(huge);
