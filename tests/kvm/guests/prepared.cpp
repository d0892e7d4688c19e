// Has constructors and an initialiser, and tells what they left.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>

#include <virtine/guest.hpp>

#include "prepared_types.hpp"

namespace {

std::uint64_t trace = 0;  // One digit for each thing that ran, in order.

struct step {
  std::uint64_t digit;
  explicit step(std::uint64_t own) : digit(own) { trace = trace * 10 + own; }
  ~step() { trace = 999; }
};

step second(2);
[[gnu::init_priority(200)]] step first(1);

alignas(4096) std::array<std::uint32_t, 4096> squares{};
alignas(4096) std::array<std::uint32_t, 2048> untouched{5};
std::uint64_t born = 0;
std::uint64_t calls = 0;

void prepare() {
  for (std::uint32_t i = 0; i < squares.size(); ++i) squares[i] = i * i;
  trace = trace * 10 + 3;
  born = __builtin_ia32_rdtsc();
}

prepared_state state() {
  return {
      .trace = trace, .born = born, .calls = ++calls, .digits = first.digit * 10 + second.digit};
}

// Returns how many squares are wrong, and spoils them.
std::uint64_t wrong_squares() {
  std::uint64_t wrong = 0;
  for (std::uint32_t i = 0; i < squares.size(); ++i) wrong += squares[i] != i * i;
  for (std::size_t i = 0; i < untouched.size(); ++i) wrong += untouched[i] != (i == 0 ? 5 : 0);
  squares.fill(1);
  untouched.fill(1);
  return wrong;
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(state);
VIRTINE_EXPORT(wrong_squares);
