// Makes the hypercalls of asks_types.hpp.
// SPDX-License-Identifier: MIT
#include "asks_types.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

void greet(std::string_view name) {
  virtine::guest::call<write_line>("hello");
  virtine::guest::call<write_line>(name);
  virtine::guest::call<write_line>(std::string_view{});
}

std::int64_t add_by_host(std::int8_t a, std::int64_t b) {
  return virtine::guest::call<add_up>(a, b);
}

constexpr std::size_t room = 3000;  // Elements, so that they lie on several pages.
alignas(4096) std::uint32_t buffer[room];

// Has the host fill the first `count` elements. Returns their sum; adds 2^32 times the number that
// the host says it wrote, and 2^62 if any element was not zero before.
std::uint64_t filled_by_host(std::uint32_t count) {
  std::uint64_t sum = 0;
  for (const std::uint32_t word : buffer) {
    if (word != 0) sum |= std::uint64_t{1} << 62;
  }
  const std::uint32_t written = virtine::guest::call<fill_in>(std::span(buffer).first(count));
  for (const std::uint32_t word : buffer) sum += word;
  return sum + (std::uint64_t{written} << 32);
}

// As above, but says that there are `claimed` elements.
std::uint64_t claims(std::uint64_t claimed) {
  return virtine::guest::call<fill_in>(std::span<std::uint32_t>(buffer, claimed));
}

double measured_by_host(std::string_view text, std::span<const double> values) {
  const measured m = virtine::guest::call<measure>(text, values);
  return m.total + static_cast<double>(m.length);
}

// Knocks until the host says stop, n times at most; returns how often.
std::uint64_t knock_on(std::uint64_t n) {
  std::uint64_t made = 0;
  while (made < n) {
    ++made;
    if (!virtine::guest::call<knock>()) break;
  }
  return made;
}

}  // namespace

VIRTINE_EXPORT(greet);
VIRTINE_EXPORT(add_by_host);
VIRTINE_EXPORT(filled_by_host);
VIRTINE_EXPORT(claims);
VIRTINE_EXPORT(measured_by_host);
VIRTINE_EXPORT(knock_on);
