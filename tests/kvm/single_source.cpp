// Functions marked in this very file, which is an ordinary one of the host: with streams, the test
// framework, and objects that are made before main.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <virtine/virtine.hpp>

#include "guests/single_helper.hpp"
#include "registers_itself.hpp"
#include "single_source.guest.hpp"

namespace {

// Made before main, in the host alone: nothing that is marked uses it.
struct announcing {
  announcing() { std::cout << std::flush; }
} announced;

struct note : virtine::hypercall<1, int(std::string_view)> {};

int plain = 5;

int with_plain(int x) {
  return x + plain;
}

constexpr auto powers = [] {
  std::array<int, 20> table{};
  int value = 1;
  for (int& each : table) each = std::exchange(value, value * 2);
  return table;
}();

struct animal {
  virtual ~animal() = default;
  [[nodiscard]] virtual int legs() const { return 4; }
};
struct bird : animal {
  [[nodiscard]] int legs() const override { return 2; }
};

template <class T, class Operation>
T folded(const std::vector<T>& values, T start, Operation operation) {
  return std::accumulate(values.begin(), values.end(), start, operation);
}

}  // namespace

VIRTINE(square, (int x) -> int) {
  return x * x;
}

VIRTINE(mean, (std::span<const double> values) -> double) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

VIRTINE(middle, (std::span<const int> values) -> int) {
  std::vector<int> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 2];
}

VIRTINE(descending, (std::span<int> values) -> void) {
  std::sort(values.begin(), values.end(), std::greater<>());
}

VIRTINE(formatted, (int x, double y) -> virtine::bytes<64>) {
  char text[64];
  std::snprintf(text, sizeof text, "%d and %.3f", x, y);
  return virtine::bytes<64>::truncated(text);
}

VIRTINE(factorial, (unsigned n) -> unsigned long) {
  return n < 2 ? 1 : n * factorial(n - 1);
}

VIRTINE(power, (int n) noexcept -> int) {
  return powers[static_cast<std::size_t>(n) % powers.size()];
}

VIRTINE(calls_so_far, () -> int) {
  static int calls = 0;
  static std::vector<int> all{1, 2, 3};
  all.push_back(++calls);
  return static_cast<int>(all.size()) * 10 + calls;
}

VIRTINE(through_helpers, (int x) -> int) {
  return with_plain(helper_in_another_file(x));
}

VIRTINE(legs, (bool flies) -> int) {
  std::unique_ptr<animal> one = flies ? std::make_unique<bird>() : std::make_unique<animal>();
  return dynamic_cast<bird*>(one.get()) != nullptr ? one->legs() : one->legs() + 100;
}

VIRTINE(with_lambdas, (int x) -> int) {
  std::function<int(int)> add = [x](int y) { return x + y; };
  return folded(std::vector<int>{1, 2, 3}, 0, [&](int sum, int y) { return sum + add(y); });
}

VIRTINE(caught, (int x) -> int) {
  try {
    if (x < 0) throw std::invalid_argument("negative");
    return std::vector<int>(3).at(static_cast<std::size_t>(x));
  } catch (const std::out_of_range&) {
    return -1;
  } catch (const std::exception& why) {
    return static_cast<int>(std::string_view(why.what()).size());
  }
}

VIRTINE(escaping, (int x) -> int) {
  if (x != 0) throw std::runtime_error("nobody catches this");
  return 0;
}

VIRTINE(rank, (std::string_view name) -> int) {
  static const std::map<std::string, int> ranks{{"low", 1}, {"high", 9}};
  const auto found = ranks.find(std::string(name));
  return found == ranks.end() ? 0 : found->second;
}

VIRTINE(most_frequent, (std::string_view text) -> char) {
  std::unordered_map<char, int> counts;
  for (char c : text) ++counts[c];
  const auto less = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(counts.begin(), counts.end(), less)->first;
}

VIRTINE(noted, (int x) -> int) {
  return virtine::guest::call<note>(x > 0 ? "positive" : "other");
}

namespace inner {
VIRTINE(half, (long x) -> long) {
  return ::square(static_cast<int>(x)) / 2;
}
}  // namespace inner

namespace {

int plain_calls = 0;

// Counts the calls of its process: none in the host's that run in machines.
int counted(int x) noexcept {
  ++plain_calls;
  return 2 * x + plain_calls;
}
struct measures {
  static double area(double width, double height) { return width * height; }
};
template <class T>
T largest(T a, T b) {
  return a < b ? b : a;
}
int over(int x) {
  return -x;
}
std::size_t over(std::string_view text) {
  return text.size();
}

}  // namespace

VIRTINE_AS(isolated_count, &counted);
VIRTINE_AS(isolated_area, &measures::area);
VIRTINE_AS(largest_long, &largest<long>);
VIRTINE_AS(size_of_text, static_cast<std::size_t (*)(std::string_view)>(&over));

TEST_CASE("functions that keep their names run in machines under another", "[single_source]") {
  CHECK(isolated_count(10) == 21);
  CHECK(isolated_count(10) == 21);
  CHECK(plain_calls == 0);
  CHECK(counted(10) == 21);
  CHECK(isolated_count.try_call(0).value() == 1);
  CHECK(plain_calls == 1);
  CHECK(isolated_area(1.5, 4) == 6);
  CHECK(largest_long(-5, 3) == largest(-5L, 3L));
  CHECK(size_of_text("twelve bytes") == 12);
  CHECK(over(5) == -5);
  virtine::pool<guests::single_source> machines{{.max = 1}};
  virtine::virtine_fn shared{largest_long, machines};
  CHECK(shared(7, 9) == 9);
  CHECK(size_of_text.async("four").get() == 4);
}

TEST_CASE("functions marked in a file of the host run in machines", "[single_source]") {
  CHECK(square(12) == 144);
  CHECK(mean(std::array{1.0, 2.0, 6.0}) == 3.0);
  CHECK(middle(std::array{9, 1, 5, 7, 3}) == 5);
  std::array<int, 4> numbers{2, 4, 1, 3};
  descending(numbers);
  CHECK(numbers == std::array{4, 3, 2, 1});
  CHECK(formatted(7, 2.5).text() == "7 and 2.500");
  CHECK(factorial(20) == 2432902008176640000);
  CHECK(power(10) == 1024);
  CHECK(through_helpers(3) == 312);
  CHECK(legs(true) == 2);
  CHECK(legs(false) == 104);
  CHECK(with_lambdas(10) == 36);
  CHECK(most_frequent("beekeeper") == 'e');
  CHECK(inner::half(4) == 8);
}

TEST_CASE("a marked function is lent memory", "[single_source][own_vm]") {
  const auto memory = virtine::lent_memory::allocate(3 * sizeof(int)).value();
  std::ranges::copy(std::array{9, 1, 5}, memory.elements<int>().begin());
  const auto lends = virtine::lending<int(virtine::lent<const int>)>(middle);
  CHECK(lends(memory) == 5);
}

TEST_CASE("variables are the guest's own, and fresh in each call", "[single_source]") {
  plain = 1000;
  CHECK(through_helpers(3) == 312);
  plain = 5;
  CHECK(calls_so_far() == 41);
  CHECK(calls_so_far() == 41);
  CHECK(rank("high") == 9);
  CHECK(rank("none") == 0);
}

TEST_CASE("exceptions stay in the guest", "[single_source]") {
  CHECK(caught(1) == 0);
  CHECK(caught(5) == -1);
  CHECK(caught(-1) == 8);
  CHECK(escaping(0) == 0);
  const auto escaped = escaping.try_call(1);
  REQUIRE_FALSE(escaped);
  CHECK(escaped.error().code == virtine::errc::guest_fault);
  CHECK(escaped.error().fault.kind == virtine::fault_kind::uncaught_exception);
}

TEST_CASE("a marked function can do what a virtine_fn can", "[single_source]") {
  const std::array<int, 3> jobs{2, 3, 4};
  CHECK(square.async(9).get() == 81);
  CHECK(square.with({.timeout = std::chrono::seconds(5)})(6) == 36);
  CHECK(square.with({.timeout = std::chrono::seconds(0)}).try_call(6).error().code ==
        virtine::errc::timed_out);
  int sum = 0;
  for (const auto& reply : square.each(jobs)) sum += reply.value();
  CHECK(sum == 29);
  CHECK(square.together(jobs).value() == std::vector<int>{4, 9, 16});
  const auto copy = square;
  CHECK(copy(5) == 25);

  virtine::pool<guests::single_source> machines{{.max = 1}};
  virtine::virtine_fn shared{square, machines};
  virtine::virtine_fn other{factorial, machines, virtine::deny_all{}};
  CHECK(shared(11) == 121);
  CHECK(other(5) == 120);
  CHECK(machines.stats().created == 1);
  virtine::virtine_fn own{square, virtine::deny_all{}};
  CHECK(virtine::session(own)(7) == 49);
  CHECK(virtine::session(square)(8) == 64);
  const virtine::function<int(int)> held = square;
  std::map<std::string, virtine::function<int(int)>> functions;
  functions.insert({"square", square});
  CHECK(held(9) == 81);
  CHECK(functions.at("square")(10) == 100);
  functions.at("square") = virtine::virtine_fn{power};
  CHECK(functions.at("square")(2) == power(2));
}

TEST_CASE("a marked function asks its host under a policy", "[single_source]") {
  std::string said;
  virtine::virtine_fn asking{
      noted, virtine::policy{virtine::allow<note>([&](virtine::tainted<std::string_view> text) {
        said = text.unverified_because("the test compares it");
        return 17;
      })}};
  CHECK(asking(1) == 17);
  CHECK(said == "positive");
}

TEST_CASE("objects that enter themselves in a registry are in the guest's too", "[single_source]") {
  CHECK(registers_itself::operated("twice", 4) == 8);
  CHECK(registers_itself::operated("thrice", 4) == 12);
  CHECK(registers_itself::operated("never", 4) == -1);
  CHECK(registers_itself::summed() == 11);
}
