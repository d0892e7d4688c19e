// Functions that are called many times in a row, some of which tell whether they were called
// before.
// SPDX-License-Identifier: MIT
#include "jobs_types.hpp"

#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

int kept = 0;
alignas(4096) std::uint8_t pages[64 * 4096];

// A fault if b is 0.
int quotient(int a, int b) {
  asm("idivl %[b]" : "+a"(a) : "d"(a >> 31), [b] "r"(b));
  return a;
}

// Returns what the last call was given, 0 in a fresh state.
int exchange(int n) {
  const int before = kept;
  kept = n;
  return before;
}

int count() {
  return ++kept;
}

void negate(std::span<int> values) {
  for (int& value : values) value = -value;
}

std::uint64_t length(std::string_view text, std::uint64_t extra) {
  return text.size() + extra;
}

bool is_even(int n) {
  return n % 2 == 0;
}

block turned(block b) {
  block out{};
  for (std::size_t i = 0; i < 8; ++i) out.words[i] = b.words[7 - i];
  return out;
}

// Asks the host, as often as it is told.
int ask(int times) {
  int answers = 0;
  for (int i = 0; i < times; ++i) answers += virtine::guest::call<question>(i);
  return answers;
}

void ask_for(std::span<int> answers) {
  for (int& answer : answers) answer = virtine::guest::call<question>(answer);
}

// Returns how many pages hold something, then writes to the first n.
int dirty(int n) {
  int found = 0;
  for (int i = 0; i < 64; ++i) found += pages[i * 4096 + 17] != 0;
  for (int i = 0; i < n; ++i) pages[i * 4096 + 17] = 1;
  return found;
}

int spin(std::uint64_t turns) {
  for (; turns != 0; --turns) asm volatile("" : "+r"(turns));
  return 1;
}

}  // namespace

VIRTINE_EXPORT(quotient);
VIRTINE_EXPORT(exchange);
VIRTINE_EXPORT(count);
VIRTINE_EXPORT(negate);
VIRTINE_EXPORT(length);
VIRTINE_EXPORT(is_even);
VIRTINE_EXPORT(turned);
VIRTINE_EXPORT(ask);
VIRTINE_EXPORT(ask_for);
VIRTINE_EXPORT(dirty);
VIRTINE_EXPORT(spin);
