// Values cross and come back as they were: written and read by the host's marshaller, and in
// between by the entry of a guest's function, which here runs in the test itself.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <virtine/call/marshal.hpp>
#include <virtine/guest/entry.hpp>
#include "crossing_samples.hpp"

using namespace virtine;

namespace {

template <class T>
T echo(T value) {
  return value;
}

/// Argument memory, with rubbish in it.
struct alignas(64) memory {
  memory() { bytes.fill(std::byte{0xa5}); }
  std::array<std::byte, 1024> bytes;
};

#define LISTED(type) , crossing::type
using all_types = std::tuple<std::nullptr_t CROSSING_BYTES(LISTED) CROSSING_PARTS(LISTED)>;
using composites = std::tuple<std::nullptr_t CROSSING_PARTS(LISTED)>;

template <class... T, class Check>
void each_of(std::tuple<std::nullptr_t, T...>*, const Check& check) {
  (check(std::type_identity<T>{}), ...);
}

template <class... T>
constexpr bool all_composite(std::tuple<std::nullptr_t, T...>*) {
  return (detail::is_composite<T> && ...);
}
static_assert(all_composite(static_cast<composites*>(nullptr)));
static_assert(!detail::is_composite<std::array<int, 3>> && !detail::is_composite<int>);

// Where parts lie, as a struct of them has it.
template <class T, class Struct>
constexpr bool lies_like = detail::wire<T>::size == sizeof(Struct) && detail::wire<T>::alignment ==
                                                                          alignof(Struct);
struct pair_layout {
  int first;
  double second;
};
struct gaps_layout {
  char a;
  double b;
  char c;
  short d;
};
template <class T>
struct one_of_layout {
  unsigned char index;
  T value;
};
union nested_layout {
  double whole;
  char text[24];
};
struct none {};
static_assert(lies_like<crossing::numbers, pair_layout>);
static_assert(lies_like<crossing::gaps, gaps_layout>);
static_assert(lies_like<crossing::no_tuple, none>);
static_assert(lies_like<crossing::maybe_int, one_of_layout<int>>);
static_assert(lies_like<crossing::maybe_bool, one_of_layout<bool>>);
static_assert(lies_like<crossing::maybe_maybe, one_of_layout<one_of_layout<char>>>);
static_assert(lies_like<crossing::maybe_numbers, one_of_layout<pair_layout>>);
static_assert(lies_like<crossing::some_number, one_of_layout<double>>);
static_assert(lies_like<crossing::two_maybes, std::array<one_of_layout<long>, 2>>);
static_assert(lies_like<crossing::nested, one_of_layout<one_of_layout<long>>>);
static_assert(detail::wire<crossing::with_line>::alignment == 64);

}  // namespace

TEST_CASE("values of every type come back as they were", "[crossing]") {
  each_of(static_cast<all_types*>(nullptr), []<class T>(std::type_identity<T>) {
    INFO(detail::signature<T()>);
    for (unsigned n = 0; n < 24; ++n) {
      const T value = crossing::sample<T>(n);
      const detail::marshaller<T(T)> call(value);
      memory area;
      REQUIRE(call.write(area.bytes, guest_address{reinterpret_cast<std::uintptr_t>(&area)}));
      detail::entry<&echo<T>>::run(area.bytes.data());
      const auto back = call.read(area.bytes);
      REQUIRE(back);
      CHECK(*back == value);
    }
  });
}

TEST_CASE("no byte of the host's is left in a part or between parts", "[crossing]") {
  each_of(static_cast<composites*>(nullptr), []<class T>(std::type_identity<T>) {
    INFO(detail::signature<T()>);
    for (unsigned n = 0; n < 24; ++n) {
      std::array<std::byte, detail::wire<T>::size> first, second;
      first.fill(std::byte{0x11});
      second.fill(std::byte{0xee});
      // Two objects, in memory with other bytes in it before.
      for (auto* to : {&first, &second}) {
        alignas(T) std::array<std::byte, sizeof(T)> storage;
        storage.fill((*to)[0]);
        detail::encode(to->data(), *::new (storage.data()) T(crossing::sample<T>(n)));
      }
      CHECK(first == second);
    }
  });
}

TEST_CASE("whatever a guest writes, what is accepted is a value", "[crossing]") {
  each_of(static_cast<all_types*>(nullptr), []<class T>(std::type_identity<T>) {
    INFO(detail::signature<T()>);
    using image = std::array<std::byte, detail::wire<T>::size>;
    for (unsigned n = 0; n < 6; ++n) {
      image good;
      detail::encode(good.data(), crossing::sample<T>(n));
      for (std::size_t at = 0; at < good.size(); ++at) {
        for (const unsigned byte : {0U, 1U, 2U, 6U, 0x80U, 0xffU}) {
          image changed = good;
          changed[at] = static_cast<std::byte>(byte);
          const auto value = detail::decode<T>(changed.data());
          if (!value) continue;
          // Written again, it is what it was, but for bytes that hold nothing.
          image again;
          detail::encode(again.data(), *value);
          CHECK(detail::is_value<T>(again.data()));
          if (changed[at] != again[at]) CHECK(again[at] == std::byte{0});
        }
      }
    }
  });
}

TEST_CASE("an index that stands for nothing is refused", "[crossing]") {
  const auto accepts = []<class T>(std::type_identity<T>, unsigned index) {
    std::array<std::byte, detail::wire<T>::size> from{};
    from[0] = static_cast<std::byte>(index);
    return detail::decode<T>(from.data()).has_value();
  };
  for (unsigned index = 0; index < 256; ++index) {
    INFO(index);
    CHECK(accepts(std::type_identity<crossing::maybe_int>{}, index) == (index < 2));
    CHECK(accepts(std::type_identity<crossing::maybe_bool>{}, index) == (index < 2));
    CHECK(accepts(std::type_identity<crossing::only_int>{}, index) == (index < 1));
    CHECK(accepts(std::type_identity<crossing::some_number>{}, index) == (index < 3));
    CHECK(accepts(std::type_identity<crossing::nested>{}, index) == (index < 4));
    // 0 is no colour.
    CHECK(accepts(std::type_identity<crossing::maybe_colour>{}, index) == (index < 1));
  }
}

TEST_CASE("parts are checked as they are alone", "[crossing]") {
  const auto accepts = []<class T>(std::type_identity<T>, std::initializer_list<int> given) {
    std::array<std::byte, detail::wire<T>::size> from{};
    std::ranges::transform(given, from.begin(), [](int each) { return std::byte(each); });
    return detail::decode<T>(from.data()).has_value();
  };
  const std::type_identity<std::pair<bool, std::array<std::optional<bool>, 2>>> pairs;
  CHECK(accepts(pairs, {1, 1, 0, 1, 1}));
  CHECK_FALSE(accepts(pairs, {2, 1, 0, 1, 1}));
  CHECK_FALSE(accepts(pairs, {1, 2, 0, 1, 1}));
  CHECK_FALSE(accepts(pairs, {1, 1, 2, 1, 1}));
  CHECK_FALSE(accepts(pairs, {1, 1, 0, 1, 2}));
  // What an empty optional does not hold is nobody's business.
  CHECK(accepts(pairs, {1, 0, 2, 0, 0xff}));
  const std::type_identity<std::tuple<crossing::pixel, char>> pixels;
  CHECK(accepts(pixels, {1, 0, 9, 0, 9}));
  CHECK_FALSE(accepts(pixels, {2, 0, 9, 0, 9}));
  const std::type_identity<std::variant<char, virtine::bytes<2>>> texts;
  CHECK(accepts(texts, {1, 0, 0, 0, 0, 0, 0, 0, 2}));
  CHECK_FALSE(accepts(texts, {1, 0, 0, 0, 0, 0, 0, 0, 3}));
  CHECK(accepts(texts, {0, 0, 0, 0, 0, 0, 0, 0, 3}));
}

TEST_CASE("a variant that has lost its value is none", "[crossing]") {
  struct lost {
    operator std::array<long, 100>() const {  // NOLINT(google-explicit-constructor)
      throw std::runtime_error("none");
    }
  };
  std::variant<int, std::array<long, 100>> value;
  CHECK_THROWS_AS(value.emplace<1>(lost()), std::runtime_error);
  REQUIRE(value.valueless_by_exception());
  std::array<std::byte, detail::wire<decltype(value)>::size> to;
  detail::encode(to.data(), value);
  CHECK(to[0] == std::byte{0xff});
  CHECK_FALSE(detail::decode<decltype(value)>(to.data()).has_value());
}
