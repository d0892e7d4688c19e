// The image of the tests: functions for each kind of type, and each way to fail.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>

#include <virtine/guest.hpp>

namespace {

// The columns of the composite type `point`.
struct point {
  std::int32_t x;
  double y;
  bool flag;
};

int calls = 0;

bool is_cheap(int price, int quantity) {
  return price * quantity % 7 == 3;
}
std::int64_t total(std::int16_t a, std::int32_t b, std::int64_t c) {
  return a + b + c;
}
double mean(float a, double b) {
  return (static_cast<double>(a) + b) / 2;
}
bool negated(bool flag) {
  return !flag;
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
virtine::bytes<32> reversed(std::string_view bytes) {
  virtine::bytes<32> out;
  for (std::size_t i = bytes.size(); i-- > 0;) out.append(static_cast<std::byte>(bytes[i]));
  return out;
}
std::uint64_t repeated(std::string_view text, int times, std::span<char> out) {
  const std::uint64_t size = text.size() * static_cast<std::uint64_t>(std::max(times, 0));
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(size, out.size()); ++i) {
    out[i] = text[i % text.size()];
  }
  return size;
}
double added(double a, double b) {
  return a + b;
}
double sum(std::span<const double> values) {
  double all = 0;
  for (const double each : values) all += each;
  return all;
}
std::uint64_t sorted(std::span<const std::int32_t> values, std::span<std::int32_t> out) {
  if (out.size() >= values.size()) {
    std::copy(values.begin(), values.end(), out.begin());
    std::sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(values.size()));
  }
  return values.size();
}
std::array<double, 3> powers(double base) {
  return {base, base * base, base * base * base};
}
std::uint64_t squares(int count, std::span<std::int64_t> out) {
  for (int i = 0; i < count && i < static_cast<int>(out.size()); ++i) {
    out[static_cast<std::size_t>(i)] = std::int64_t{i} * i;
  }
  return static_cast<std::uint64_t>(count);
}
point moved(point from, int by) {
  return {from.x + by, from.y + by, !from.flag};
}
std::uint64_t line(int count, std::span<point> out) {
  for (int i = 0; i < count && i < static_cast<int>(out.size()); ++i) {
    out[static_cast<std::size_t>(i)] = {i, i / 2.0, i % 2 == 0};
  }
  return static_cast<std::uint64_t>(count);
}
std::tuple<int, std::optional<double>, virtine::bytes<8>> described(
    std::tuple<std::optional<int>, std::optional<virtine::bytes<8>>> of) {
  const auto& [number, name] = of;
  return {number.value_or(-1), number ? std::optional(*number / 2.0) : std::nullopt,
          name.value_or(virtine::bytes<8>("nobody"))};
}
std::optional<int> first_or_second(std::optional<int> a, std::optional<int> b) {
  return a ? a : b;
}
void nothing() {}
// SQL has no value that is as an optional in an optional.
std::optional<std::optional<point>> maybe_a_point() {
  return std::optional(point{.x = 1, .y = 2, .flag = true});
}
int x_of(std::optional<std::optional<point>> of) {
  return of && *of ? (**of).x : -1;
}

// What an earlier call has left is seen only by calls that share a machine.
int counted(int) {
  return ++calls;
}
std::int64_t too_large() {
  return std::int64_t{1} << 40;
}
virtine::bytes<8> no_text() {
  return virtine::bytes<8>("\xff\xfe");
}
int divide(int a, int b) {
  return a / b;
}
int spin() {
  for (;;) asm volatile("");
}
std::uint64_t liar(std::span<char>) {
  return std::uint64_t{1} << 60;
}
int null_access(int) {
  return *reinterpret_cast<volatile int*>(8);
}

}  // namespace

VIRTINE_EXPORT(is_cheap);
VIRTINE_EXPORT(total);
VIRTINE_EXPORT(mean);
VIRTINE_EXPORT(negated);
VIRTINE_EXPORT(words);
VIRTINE_EXPORT(reversed);
VIRTINE_EXPORT(repeated);
VIRTINE_EXPORT(added);
VIRTINE_EXPORT(sum);
VIRTINE_EXPORT(sorted);
VIRTINE_EXPORT(powers);
VIRTINE_EXPORT(squares);
VIRTINE_EXPORT(moved);
VIRTINE_EXPORT(line);
VIRTINE_EXPORT(described);
VIRTINE_EXPORT(first_or_second);
VIRTINE_EXPORT(nothing);
VIRTINE_EXPORT(maybe_a_point);
VIRTINE_EXPORT(x_of);
VIRTINE_EXPORT(counted);
VIRTINE_EXPORT(too_large);
VIRTINE_EXPORT(no_text);
VIRTINE_EXPORT(divide);
VIRTINE_EXPORT(spin);
VIRTINE_EXPORT(liar);
VIRTINE_EXPORT(null_access);
