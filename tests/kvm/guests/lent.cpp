// Reads what it is lent, and attacks it and what is around it.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/guest.hpp>

#include "lent_types.hpp"

using word = std::uint64_t;
using bytes = std::span<const std::byte>;
using words = std::span<const word>;

static word sum(bytes data) {
  word total = 0;
  for (std::byte value : data) total += std::to_integer<word>(value);
  return total;
}

static word size(bytes data) {
  return data.size();
}

static word place(bytes data) {
  return reinterpret_cast<word>(data.data());
}

static word element(words data, word index) {
  return data[index];
}

/// The first words of four, as the digits of a number.
static word four(words a, words b, words c, words d) {
  word digits = 0;
  for (words each : {a, b, c, d}) digits = digits * 10 + (each.empty() ? 0 : each[0]);
  return digits;
}

// Of these what is lent is only there, and the word or function at an address is used.

static word read_at(bytes, word address) {
  return *reinterpret_cast<const volatile word*>(address);
}

static word write_at(bytes, word address, word value) {
  *reinterpret_cast<volatile word*>(address) = value;
  return value;
}

static word call_at(bytes, word address) {
  return reinterpret_cast<word (*)()>(address)();
}

/// The same of a call that is lent nothing.
static word look_at(word address) {
  return *reinterpret_cast<const volatile word*>(address);
}

/// Shows the host `count` words at an address.
static word tell(bytes, word address, word count) {
  return virtine::guest::call<told>(words(reinterpret_cast<const word*>(address), count));
}

/// Has the host fill `count` words at an address.
static word fill(bytes, word address, word count) {
  return virtine::guest::call<filled>(std::span(reinterpret_cast<word*>(address), count));
}

VIRTINE_EXPORT(sum);
VIRTINE_EXPORT(size);
VIRTINE_EXPORT(place);
VIRTINE_EXPORT(element);
VIRTINE_EXPORT(four);
VIRTINE_EXPORT(read_at);
VIRTINE_EXPORT(write_at);
VIRTINE_EXPORT(call_at);
VIRTINE_EXPORT(look_at);
VIRTINE_EXPORT(tell);
VIRTINE_EXPORT(fill);
