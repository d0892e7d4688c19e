// One file, host and guest: the functions marked VIRTINE run in virtual machines of their own.
// Run: build/examples/single_source
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <iostream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/virtine.hpp>

#include "single_source.guest.hpp"  // virtine-cc makes it of this file
#include "single_source_part.hpp"

namespace {

// The guest has its own copy of what the file defines, with its value at the start.
int base = 40;

// What marked functions call goes into their image, as far as they call it.
int scaled(int x) {
  return x * base;
}

constexpr auto squares = [] {
  std::array<int, 10> table{};
  for (int i = 0; i < 10; ++i) table[static_cast<std::size_t>(i)] = i * i;
  return table;
}();

struct shape {
  virtual double area() const = 0;

 protected:
  ~shape() = default;
};
struct square_shape final : shape {
  explicit square_shape(double side) : side_(side) {}
  double area() const override { return side_ * side_; }

 private:
  double side_;
};
struct disc final : shape {
  explicit disc(double radius) : radius_(radius) {}
  double area() const override { return 3.0 * radius_ * radius_; }

 private:
  double radius_;
};

template <class T>
T largest(std::span<const T> values) {
  T best{};
  for (const T& value : values) best = value > best ? value : best;
  return best;
}

}  // namespace

VIRTINE(square, (int x) -> int) {
  return x * x;
}

VIRTINE(fib, (int n) -> int) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

VIRTINE(mean, (std::span<const double> values) -> double) {
  double sum = 0;
  for (double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

VIRTINE(looked_up, (int n) -> int) {
  return squares[static_cast<std::size_t>(n) % squares.size()];
}

// A static variable of a function begins anew with each call, as all that a guest writes.
VIRTINE(count, () -> int) {
  static int calls = 0;
  return scaled(1) + ++calls;
}

VIRTINE(surface, (double size, bool round) -> double) {
  const square_shape a(size);
  const disc b(size);
  const shape* chosen = &a;
  if (round) chosen = &b;
  return chosen->area();
}

VIRTINE(double_largest, (std::span<const int> values) -> int) {
  const auto twice = [](int x) { return 2 * x; };
  return twice(largest(values));
}

// The C and C++ libraries come along as far as they are used.
VIRTINE(median, (std::span<const int> values) -> int) {
  std::vector<int> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted.at(sorted.size() / 2);  // An exception if there are none.
}

VIRTINE(price, (std::string_view what, double euros) -> virtine::bytes<80>) {
  char text[80];
  const int size = static_cast<int>(what.size());
  std::snprintf(text, sizeof text, "%.*s: %.2f EUR", size, what.data(), euros);
  return virtine::bytes<80>::truncated(text);
}

VIRTINE(parsed, (std::string_view number) -> int) {
  try {
    return std::stoi(std::string(number));
  } catch (const std::invalid_argument&) {
    return -1;
  }
}

// A function of another file, which virtine-cc was given as well.
VIRTINE(elsewhere, (int x) -> int) {
  return part(x);
}

namespace {

void run() {
  std::cout << "square(3)       " << square(3) << '\n';
  std::cout << "fib(20)         " << fib(20) << '\n';

  const std::array<double, 3> values{1, 2, 6};
  std::cout << "mean(1, 2, 6)   " << mean(values) << '\n';
  std::cout << "looked_up(7)    " << looked_up(7) << '\n';

  base = 1;  // Of the host's only.
  std::cout << "count()         " << count() << ' ' << count() << '\n';
  std::cout << "surface(2)      " << surface(2, false) << ' ' << surface(2, true) << '\n';

  const std::array<int, 4> numbers{3, 9, 4, 1};
  std::cout << "double_largest  " << double_largest(numbers) << '\n';

  std::cout << "median(3 9 4 1) " << median(numbers) << '\n';
  std::cout << "price           " << price("tea", 2.5).text() << '\n';
  std::cout << "parsed          " << parsed("42") << ' ' << parsed("x") << '\n';
  std::cout << "elsewhere(1)    " << elsewhere(1) << '\n';
  if (auto r = median.try_call({}); !r) {
    std::cout << "median()        " << to_string(r.error()) << '\n';
  }

  // Everything else a virtine_fn can do.
  std::map<std::string, int> results;
  for (const auto& reply : square.each(numbers)) results["each"] += reply.value_or(0);
  if (auto all = square.together(numbers)) {
    for (int each : *all) results["together"] += each;
  }
  for (const auto& [how, sum] : results) std::cout << how << ": " << sum << '\n';

  virtine::pool<guests::single_source> machines{{.max = 2}};
  virtine::virtine_fn own{fib, machines};
  std::cout << "own pool        " << own.with({.timeout = std::chrono::seconds(5)})(10) << '\n';
}

}  // namespace

int main() {
  if (auto probe = square.try_call(1); !probe) {
    std::cout << virtine::to_string(probe.error()) << '\n';
    return probe.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
  run();
  return 0;
}

// Output:
// square(3)       9
// fib(20)         6765
// mean(1, 2, 6)   3
// looked_up(7)    49
// count()         41 41
// surface(2)      4 12
// double_largest  18
// median(3 9 4 1) 4
// price           tea: 2.50 EUR
// parsed          42 -1
// elsewhere(1)    1001
// median()        guest_fault: ...
// each: 107
// together: 107
// own pool        55
