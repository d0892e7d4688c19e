// result<T>: a value or an error, never both and never neither.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/result.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr error no_room{.code = errc::arguments_too_large, .detail = 7};

static_assert(!std::is_convertible_v<result<int>, int>);
static_assert(!std::is_convertible_v<result<int>, bool>, "if (r) must be meant");
static_assert(!std::is_constructible_v<result<int>>, "there is no result without an outcome");
static_assert(std::is_nothrow_default_constructible_v<result<void>>);

}  // namespace

TEST_CASE("a result holds its value", "[result]") {
  const result<int> made = 5;
  CHECK(made.has_value());
  CHECK(static_cast<bool>(made));
  CHECK(*made == 5);
  CHECK(made.value_or(9) == 5);

  result<std::string> text = std::string("abc");
  CHECK(text->size() == 3);
  text->push_back('d');
  *text += 'e';
  CHECK(text.value() == "abcde");
}

TEST_CASE("a result holds its error", "[result]") {
  const result<int> failed = no_room;
  CHECK_FALSE(failed.has_value());
  CHECK_FALSE(static_cast<bool>(failed));
  CHECK(failed.error().code == errc::arguments_too_large);
  CHECK(failed.error().detail == 7);
  CHECK(failed.value_or(9) == 9);
}

TEST_CASE("a result whose value is false or zero is a success", "[result]") {
  CHECK(result<bool>(false).has_value());
  CHECK(result<int>(0).has_value());
  CHECK(result<const char*>(nullptr).has_value());
}

TEST_CASE("a value outlives the temporary result it came from", "[result]") {
  const auto made = [] { return result<std::vector<int>>(std::vector<int>{1, 2, 3}); };
  static_assert(std::is_same_v<decltype(made().value()), std::vector<int>>);
  static_assert(std::is_same_v<decltype(*made()), std::vector<int>>);
  int total = 0;
  for (int n : made().value()) total += n;
  for (int n : *made()) total += n;
  CHECK(total == 12);
}

TEST_CASE("a value moves out of a result", "[result]") {
  result<std::unique_ptr<int>> made = std::make_unique<int>(3);
  auto moved = *std::move(made);
  REQUIRE(moved);
  CHECK(*moved == 3);
  result<std::unique_ptr<int>> again = std::move(moved);
  CHECK(*std::move(again).value() == 3);
}

TEST_CASE("a result without a value counts as success or failure", "[result]") {
  const result<void> done;
  CHECK(done.has_value());
  CHECK_NOTHROW(done.value());
  const result<void> failed = no_room;
  CHECK_FALSE(failed);
  CHECK(failed.error().detail == 7);
}

TEST_CASE("value() throws the error that the result holds", "[result]") {
  result<int> failed = no_room;
  const result<void> nothing = no_room;
  CHECK_THROWS_AS(nothing.value(), failure);
  CHECK_THROWS_AS(result<int>(no_room).value(), failure);
  try {
    static_cast<void>(failed.value());
    FAIL("value() returned");
  } catch (const failure& thrown) {
    CHECK(thrown.error().code == errc::arguments_too_large);
    CHECK(thrown.error().detail == 7);
    CHECK(thrown.what() == to_string(no_room));
  }
}

TEST_CASE("a result may be assigned a part of its own value", "[result]") {
  struct node {
    std::string name;
    std::unique_ptr<result<node>> next;
  };
  const auto list = [](result<node> rest) {
    return result<node>(node{"first", std::make_unique<result<node>>(std::move(rest))});
  };
  result<node> found = list(node{std::string(100, 'x'), nullptr});
  found = std::move(*found->next);
  REQUIRE(found);
  CHECK(found->name == std::string(100, 'x'));
  found = list(told(no_room, std::string(100, 'y')));
  found = std::move(*found->next);
  REQUIRE(!found);
  CHECK(found.error().operation == std::string(100, 'y'));
}

TEST_CASE("what follows a value follows, and an error goes by", "[result]") {
  const result<int> five = 5;
  const result<int> failed = no_room;
  const auto half = [](int n) { return n % 2 == 0 ? result<int>(n / 2) : result<int>(no_room); };
  CHECK(*result<int>(8).and_then(half).and_then(half) == 2);
  CHECK(five.and_then(half).error().detail == 7);
  CHECK(failed.and_then(half).error().detail == 7);
  CHECK(*five.transform([](int n) { return std::to_string(n); }) == "5");
  CHECK(*result<int>(6).transform([](int n) { return n + 0.5; }) == 6.5);
  CHECK_FALSE(failed.transform([](int n) { return n; }));
  int seen = 0;
  const result<void> noted = five.transform([&](int n) { seen = n; });
  CHECK(noted);
  CHECK(seen == 5);
  CHECK_FALSE(failed.transform([&](int n) { seen = n; }));
  CHECK(seen == 5);
}

TEST_CASE("what follows an error can mend it, and a value goes by", "[result]") {
  const auto size = [](const error& why) { return result<int>(static_cast<int>(why.detail)); };
  const result<int> failed = no_room;
  const result<int> five = 5;
  CHECK(*failed.or_else(size) == 7);
  CHECK(*five.or_else(size) == 5);
  CHECK(*result<int>(no_room).or_else(size) == 7);
  CHECK(*result<int>(5).or_else(size) == 5);
  const error other{.code = errc::timed_out};
  CHECK(failed.error_or(other).code == errc::arguments_too_large);
  CHECK(five.error_or(other).code == errc::timed_out);
}

TEST_CASE("a value that moves goes through what follows", "[result]") {
  result<std::unique_ptr<int>> made = std::make_unique<int>(3);
  const auto kept = [](std::unique_ptr<int> its) {
    return result<std::unique_ptr<int>>(std::move(its));
  };
  result<std::unique_ptr<int>> moved = std::move(made).and_then(kept);
  REQUIRE(moved);
  CHECK(*std::move(moved).transform([](std::unique_ptr<int> its) { return *its; }) == 3);
}

TEST_CASE("a result without a value has what follows, too", "[result]") {
  const result<void> done;
  const result<void> failed = no_room;
  CHECK_NOTHROW(*done);
  CHECK(*done.and_then([] { return result<int>(3); }) == 3);
  CHECK(failed.and_then([] { return result<int>(3); }).error().detail == 7);
  CHECK(*done.transform([] { return 4; }) == 4);
  CHECK_FALSE(failed.transform([] { return 4; }));
  CHECK(failed.or_else([](const error&) { return result<void>(); }));
  CHECK(done.or_else([](const error&) { return result<void>(no_room); }));
  CHECK(failed.error_or({.code = errc::timed_out}).detail == 7);
  CHECK(done.error_or({.code = errc::timed_out}).code == errc::timed_out);
}

TEST_CASE("a result is assigned a value or an error, whatever it held", "[result]") {
  const result<std::string> text = std::string(100, 'x');
  const result<std::string> failed = no_room;
  result<std::string> other = no_room;
  other = text;
  CHECK(*other == *text);
  other = failed;
  CHECK(other.error().detail == 7);
  other = std::string("y");
  CHECK(*other == "y");
}
