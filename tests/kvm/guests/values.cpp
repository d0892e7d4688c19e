// A function for each kind of value that crosses the boundary.
// SPDX-License-Identifier: MIT
#include "values_types.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

// The successor, wrapping: shows that all bits come and go.
template <class T>
T successor(T n) {
  return static_cast<T>(static_cast<std::uint64_t>(n) + 1);
}
std::int8_t next_i8(std::int8_t n) {
  return successor(n);
}
std::uint8_t next_u8(std::uint8_t n) {
  return successor(n);
}
std::int16_t next_i16(std::int16_t n) {
  return successor(n);
}
std::uint16_t next_u16(std::uint16_t n) {
  return successor(n);
}
std::int32_t next_i32(std::int32_t n) {
  return successor(n);
}
std::uint32_t next_u32(std::uint32_t n) {
  return successor(n);
}
std::int64_t next_i64(std::int64_t n) {
  return successor(n);
}
std::uint64_t next_u64(std::uint64_t n) {
  return successor(n);
}
char32_t next_char(char32_t c) {
  return c + 1;
}

float half(float x) {
  return x / 2;
}
double third(double x) {
  return x / 3;
}

bool invert(bool b) {
  return !b;
}
colour next_colour(colour c) {
  return c == colour::red ? colour::green : c == colour::green ? colour::blue : colour::red;
}

padded doubled(padded p) {
  return {static_cast<char>(p.tag + 1), p.number * 2, static_cast<std::uint16_t>(p.small * 2)};
}

block rotated(block b) {
  // Tells whether the frame gave the alignment that was asked for.
  block out{};
  for (std::size_t i = 0; i < 8; ++i) out.words[i] = b.words[(i + 1) % 8];
  return out;
}

// A bit for each argument that has not the value it should.
std::uint32_t mixed(std::int8_t a, double b, std::uint16_t c, float d, std::int64_t e, bool f,
                    padded g, colour h) {
  const bool wrong[] = {a != -5,
                        b != 2.5,
                        c != 60'000,
                        d != -0.5f,
                        e != INT64_MIN,
                        !f,
                        g.tag != 'x' || g.number != 1e300 || g.small != 7,
                        h != colour::blue};
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < 8; ++i) bits |= static_cast<std::uint32_t>(wrong[i]) << i;
  return bits;
}

template <class T>
bool misaligned(std::span<T> s) {
  return reinterpret_cast<std::uintptr_t>(s.data()) % alignof(T) != 0;
}

// Adds everything up; -1 if elements are not aligned for their type.
double several(std::span<const std::uint8_t> a, std::span<const double> b,
               std::span<const std::uint16_t> c, std::string_view d, std::span<std::uint32_t> out,
               std::span<const block> e) {
  if (misaligned(b) || misaligned(c) || misaligned(out) || misaligned(e)) return -1;
  double total = 0;
  for (auto x : a) total += x;
  for (auto x : b) total += x;
  for (auto x : c) total += x;
  for (auto x : d) total += x;
  for (const auto& x : e) total += static_cast<double>(x.words[7]);
  for (auto& x : out) {
    total += x;
    x = ~x;
  }
  return total;
}

// Bit i is set if argument i has elements.
int filled(std::span<const int> a, std::string_view b, std::span<double> c) {
  return (a.empty() ? 0 : 1) | (b.empty() ? 0 : 2) | (c.empty() ? 0 : 4);
}

std::uint64_t ends(std::span<const std::uint8_t> bytes) {
  return bytes.size() * 0x10000 + bytes.front() * 0x100u + bytes.back();
}

void invert_bytes(std::span<std::uint8_t> bytes) {
  for (auto& b : bytes) b = static_cast<std::uint8_t>(~b);
}

void reverse(std::span<padded> items) {
  for (std::size_t i = 0; i < items.size() / 2; ++i) {
    const padded kept = items[i];
    items[i] = items[items.size() - 1 - i];
    items[items.size() - 1 - i] = kept;
  }
}

virtine::bytes<16> echo(std::string_view text) {
  return virtine::bytes<16>::truncated(text);
}

void nothing() {}

}  // namespace

VIRTINE_EXPORT(next_i8);
VIRTINE_EXPORT(next_u8);
VIRTINE_EXPORT(next_i16);
VIRTINE_EXPORT(next_u16);
VIRTINE_EXPORT(next_i32);
VIRTINE_EXPORT(next_u32);
VIRTINE_EXPORT(next_i64);
VIRTINE_EXPORT(next_u64);
VIRTINE_EXPORT(next_char);
VIRTINE_EXPORT(half);
VIRTINE_EXPORT(third);
VIRTINE_EXPORT(invert);
VIRTINE_EXPORT(next_colour);
VIRTINE_EXPORT(doubled);
VIRTINE_EXPORT(rotated);
VIRTINE_EXPORT(mixed);
VIRTINE_EXPORT(several);
VIRTINE_EXPORT(filled);
VIRTINE_EXPORT(ends);
VIRTINE_EXPORT(invert_bytes);
VIRTINE_EXPORT(reverse);
VIRTINE_EXPORT(echo);
VIRTINE_EXPORT(nothing);
