// An image with a function for each kind of thing that can cross the boundary.
// SPDX-License-Identifier: MIT
#include "math.hpp"

#include <cstddef>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

int fib(int n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

long sum(std::span<const int> values) {
  long total = 0;
  for (int value : values) total += value;
  virtine::guest::call<log_line>("summed");
  return total;
}

void scale(std::span<double> values, double factor) {
  for (double& value : values) value *= factor;
}

point midpoint(point a, point b) {
  return {(a.x + b.x) / 2, (a.y + b.y) / 2};
}

using text = virtine::bytes<64>;

void append(text& out, std::string_view words) {
  for (char c : words) out.append(static_cast<std::byte>(c));
}

void append(text& out, unsigned number) {
  if (number >= 10) append(out, number / 10);
  out.append(static_cast<std::byte>('0' + number % 10));
}

text describe(int n) {
  text out;
  // As unsigned, because the smallest int has no negative.
  auto magnitude = static_cast<unsigned>(n);
  if (n < 0) {
    append(out, "minus ");
    magnitude = 0 - magnitude;
  }
  append(out, magnitude);
  append(out, n % 2 == 0 ? " is even" : " is odd");
  return out;
}

}  // namespace

VIRTINE_EXPORT(fib);
VIRTINE_EXPORT(sum);
VIRTINE_EXPORT(scale);
VIRTINE_EXPORT(midpoint);
VIRTINE_EXPORT(describe);
