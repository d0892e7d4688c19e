// Values that a guest chose: nothing gets at them but a verifier or a reason.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <climits>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <virtine/tainted.hpp>

using namespace virtine;

namespace {

static_assert(!std::is_convertible_v<tainted<int>, int>);
static_assert(!std::is_constructible_v<int, tainted<int>>);
static_assert(!std::is_convertible_v<int, tainted<int>>);
static_assert(!std::is_default_constructible_v<tainted<int>>);

}  // namespace

TEST_CASE("verify returns what the verifier makes of the value", "[tainted]") {
  const tainted<int> given{7};
  CHECK(given.verify([](int n) { return n * 2; }) == 14);
  CHECK(given.verify([](const int&) { return std::string("seven"); }) == "seven");
  int calls = 0;
  given.verify([&](int) { ++calls; });
  CHECK(calls == 1);
}

TEST_CASE("a value is given as it is for a reason", "[tainted]") {
  const tainted<std::string_view> given{"text"};
  CHECK(given.unverified_because("it is compared and nothing else") == "text");
}

TEST_CASE("at_most refuses longer texts", "[tainted]") {
  CHECK(tainted<std::string_view>{"abcd"}.verify(at_most<3>) == std::nullopt);
  CHECK(tainted<std::string_view>{"abc"}.verify(at_most<3>) == "abc");
  CHECK(tainted<std::string_view>{"ab"}.verify(at_most<3>) == "ab");
  CHECK(tainted<std::string_view>{""}.verify(at_most<0>) == "");
  CHECK(tainted<std::string_view>{"a"}.verify(at_most<0>) == std::nullopt);
}

TEST_CASE("between gives numbers in its range and no others", "[tainted]") {
  CHECK(between<0, 9>(0) == 0);
  CHECK(between<0, 9>(9) == 9);
  CHECK(between<0, 9>(10) == std::nullopt);
  CHECK(between<0, 9>(-1) == std::nullopt);
  CHECK(between<-3, -1>(-2) == -2);
  static_assert(std::is_same_v<decltype(between<0, 9>(5UL)), std::optional<unsigned long>>);
}

TEST_CASE("between compares numbers of different types by value", "[tainted]") {
  CHECK(between<0, 9>(UINT64_MAX) == std::nullopt);
  CHECK(between<-1, 9>(UINT64_MAX) == std::nullopt);
  CHECK(between<0U, 9U>(-1) == std::nullopt);
  CHECK(between<0, UINT64_MAX>(-1) == std::nullopt);
  CHECK(between<0, UINT64_MAX>(INT_MAX) == INT_MAX);
  CHECK(between<-1, 9>(std::int64_t{1} << 32) == std::nullopt);
}

TEST_CASE("between looks at both limits, whatever the type of the first", "[tainted]") {
  CHECK(between<0, 5'000'000'000>(std::int64_t{4'000'000'000}) == 4'000'000'000);
  CHECK(between<0, UINT64_MAX>(UINT64_MAX) == UINT64_MAX);
}
