// A guest whose functions have signatures that are hard to get right, and that use what compilers
// call on their own.
// SPDX-License-Identifier: MIT
#include "probe.hpp"

#include <span>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

int calls = 40;

void nothing() noexcept {
  ++calls;
}

int count() {
  return calls;
}

double mix(char a, std::int64_t b, float c, bool d, std::uint16_t e, double f) noexcept {
  return a + static_cast<double>(b) + static_cast<double>(c) + (d ? 1 : 0) + e + f;
}

padded twist(padded p) {
  return {static_cast<char>(p.tag + 1), -p.value, !p.flag};
}

wide rotate(wide w) {
  wide out;
  for (unsigned i = 0; i < 64; ++i) out.lanes[(i + 1) % 64] = w.lanes[i];
  return out;
}

colour other(colour c) {
  return c == colour::red ? colour::green : colour::red;
}

virtine::bytes<16> reverse(std::string_view text) {
  virtine::bytes<16> out;
  for (std::size_t i = text.size(); i > 0; --i) out.append(static_cast<std::byte>(text[i - 1]));
  return out;
}

void halve(std::span<padded> all, std::span<const std::int64_t> by) {
  for (std::size_t i = 0; i < all.size(); ++i) all[i].value /= by[i];
}

std::uint32_t ask(std::string_view name, std::span<char> room) {
  return virtine::guest::call<fetch>(name, room.subspan(1), padded{'x', -5, true}) + 1000;
}

void move(std::span<char> all, std::uint32_t to, std::uint32_t from, std::uint32_t size) {
  __builtin_memmove(all.data() + to, all.data() + from, size);
}

void copy(std::span<char> to, std::string_view from) {
  __builtin_memcpy(to.data(), from.data(), from.size());
}

void fill(std::span<char> all, int value) {
  __builtin_memset(all.data(), value, all.size());
}

int compare(std::string_view a, std::string_view b) {
  return a.compare(b);
}

}  // namespace

VIRTINE_EXPORT(nothing);
VIRTINE_EXPORT(count);
VIRTINE_EXPORT(mix);
VIRTINE_EXPORT(twist);
VIRTINE_EXPORT(rotate);
VIRTINE_EXPORT(other);
VIRTINE_EXPORT(reverse);
VIRTINE_EXPORT(halve);
VIRTINE_EXPORT(ask);
VIRTINE_EXPORT(move);
VIRTINE_EXPORT(copy);
VIRTINE_EXPORT(fill);
VIRTINE_EXPORT(compare);
