// The image of the tests.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <virtine/guest.hpp>

namespace {

int calls = 0;

bool is_cheap(std::int64_t price, std::int64_t quantity) {
  return price * quantity % 7 == 3;
}
double half(double of) {
  return of / 2;
}
virtine::bytes<64> reversed(std::string_view text) {
  virtine::bytes<64> out;
  for (std::size_t i = text.size(); i-- > 0;) out.append(static_cast<std::byte>(text[i]));
  return out;
}
std::optional<std::int64_t> first(std::optional<std::int64_t> a, std::optional<std::int64_t> b) {
  return a ? a : b;
}
double median(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  if (sorted.empty()) return 0;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}
int words(std::string_view text) {
  int found = 0;
  bool inside = false;
  for (const char c : text) {
    if (c != ' ' && !inside) ++found;
    inside = c != ' ';
  }
  return found;
}
double sum(std::span<const double> values) {
  double all = 0;
  for (const double each : values) all += each;
  return all;
}
double weighted(std::span<const double> values, std::span<const std::int64_t> weights) {
  double sum = 0, all = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += values[i] * static_cast<double>(weights[i]);
    all += static_cast<double>(weights[i]);
  }
  return sum / all;
}
int counted() {
  return ++calls;
}
int divide(int a, int b) {
  return a / b;
}
int spin() {
  for (;;) asm volatile("");
}

}  // namespace

VIRTINE_EXPORT(is_cheap);
VIRTINE_EXPORT(half);
VIRTINE_EXPORT(reversed);
VIRTINE_EXPORT(first);
VIRTINE_EXPORT(median);
VIRTINE_EXPORT(words);
VIRTINE_EXPORT(sum);
VIRTINE_EXPORT(weighted);
VIRTINE_EXPORT(counted);
VIRTINE_EXPORT(divide);
VIRTINE_EXPORT(spin);
