// A function for each kind of argument and result.
// SPDX-License-Identifier: MIT
#include "kinds.hpp"

#include <cstddef>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

int add(int a, int b) {
  return a + b;
}

rectangle turned(rectangle r) {
  return {r.height, r.width};
}

bool is_sorted(std::span<const int> values) {
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i] < values[i - 1]) return false;
  }
  return true;
}

shape classify(rectangle r) {
  if (r.width <= 0 || r.height <= 0) return shape::flat;
  return r.width == r.height ? shape::square : shape::other;
}

// Of two spans, the one of const elements is copied in only, the other in and back out.
void add_to(std::span<long> totals, std::span<const int> values) {
  for (std::size_t i = 0; i < totals.size() && i < values.size(); ++i) totals[i] += values[i];
}

virtine::bytes<32> upper(std::string_view text) {
  virtine::bytes<32> out;
  for (char c : text) out.append(static_cast<std::byte>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c));
  return out;
}

}  // namespace

VIRTINE_EXPORT(add);
VIRTINE_EXPORT(turned);
VIRTINE_EXPORT(is_sorted);
VIRTINE_EXPORT(classify);
VIRTINE_EXPORT(add_to);
VIRTINE_EXPORT(upper);
