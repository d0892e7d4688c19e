// Every type of guests/crossing_types.hpp goes to a guest and comes back as it was; bytes that are
// none of a type's values do not come back.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <guests/crossing.hpp>
#include <virtine/virtine.hpp>

#include "crossing_samples.hpp"

using namespace virtine;

namespace {

using image = guests::crossing;

template <class T, class Entry>
struct crossed {
  using type = T;
  using entry = Entry;
};
template <class... Each>
struct list {
  template <class Check>
  static void each(const Check& check) {
    (check(Each{}), ...);
  }
};

// A list that begins with a comma is one of arguments after another.
#define BACK(name) , crossed<crossing::name, image::name##_back>
template <class, class... Each>
using listed = list<Each...>;
using all_types = listed<void CROSSING_BYTES(BACK) CROSSING_PARTS(BACK)>;

template <class T>
struct limits_of {
  static std::vector<T> values() {
    using limits = std::numeric_limits<T>;
    if constexpr (std::is_floating_point_v<T>) {
      return {limits::lowest(),      limits::max(),      limits::min(),      limits::denorm_min(),
              -limits::denorm_min(), limits::infinity(), -limits::infinity()};
    } else if constexpr (std::is_arithmetic_v<T>) {
      return {limits::min(), limits::max()};
    } else {
      return {};
    }
  }
};
template <class Rep, class Period>
struct limits_of<std::chrono::duration<Rep, Period>> {
  using duration = std::chrono::duration<Rep, Period>;
  static std::vector<duration> values() { return {duration::min(), duration::max()}; }
};
template <class T>
struct limits_of<std::complex<T>> {
  static std::vector<std::complex<T>> values() {
    std::vector<std::complex<T>> out;
    for (T part : limits_of<T>::values()) out.emplace_back(part, -part);
    return out;
  }
};
template <class T>
struct limits_of<std::optional<T>> {
  static std::vector<std::optional<T>> values() {
    const auto parts = limits_of<T>::values();
    return {parts.begin(), parts.end()};
  }
};
template <class A, class B>
struct limits_of<std::pair<A, B>> {
  static std::vector<std::pair<A, B>> values() {
    std::vector<std::pair<A, B>> out;
    for (auto first : limits_of<std::remove_const_t<A>>::values()) {
      for (auto second : limits_of<B>::values()) out.emplace_back(first, second);
    }
    return out;
  }
};

/// Bytes of a T, and what stands at some places of them instead.
template <class T>
crossing::bytes_of<T> changed(const T& value,
                              std::initializer_list<std::pair<std::size_t, unsigned char>> places) {
  crossing::bytes_of<T> bytes;
  detail::encode(bytes.data(), value);
  for (const auto& [at, byte] : places) bytes.at(at) = std::byte{byte};
  return bytes;
}

#define FORGED(name)                                                                         \
  virtine_fn<crossing::name(crossing::bytes_of<crossing::name>), image::name##_forged> name( \
      machines);

template <class Fn, class T>
void check_reply(const Fn& forge, const T& value) {
  const auto reply = forge.try_call(changed(value, {}));
  REQUIRE(reply);
  CHECK(*reply == value);
}
template <class Fn, class T>
void check_refusal(const Fn& forge, const T& value, std::size_t at, unsigned char byte) {
  INFO("byte " << at << " is " << +byte);
  check_reply(forge, value);
  const auto reply = forge.try_call(changed(value, {{at, byte}}));
  REQUIRE_FALSE(reply);
  CHECK(reply.error().code == errc::bad_reply);
}

}  // namespace

TEST_CASE("values of every type cross into a guest and back", "[crossing]") {
  pool<image> machines({.max = 1});
  std::size_t values = 0;
  all_types::each([&]<class T, class Entry>(crossed<T, Entry>) {
    INFO(Entry::name);
    const virtine_fn<T(T), Entry> back(machines);
    auto samples = limits_of<T>::values();
    // So many that every optional is empty and full, and every alternative there.
    for (unsigned n = 0; n < 12; ++n) samples.push_back(crossing::sample<T>(n));
    for (const T& value : samples) {
      const auto reply = back.try_call(value);
      REQUIRE(reply);
      CHECK(*reply == value);
      ++values;
    }
  });
  CHECK(values > 600);
}

TEST_CASE("bools, enums and lengths that a guest forged are no values", "[crossing]") {
  pool<image> machines({.max = 1});
  CROSSING_FORGED(FORGED)
  for (const unsigned char byte : std::to_array<unsigned char>({2, 3, 128, 255})) {
    check_refusal(a_bool, true, 0, byte);
    check_refusal(one_bool, crossing::one_bool(false), 0, byte);
    for (std::size_t at = 0; at < 3; ++at) check_refusal(a_flags, crossing::flags(), at, byte);
    check_refusal(a_colour, crossing::colour::green, 0, byte);
    check_refusal(a_colour, crossing::colour::green, 1, byte);
    check_refusal(a_pixel, crossing::pixel(), 1, byte == 255 ? 0 : byte);
    for (std::size_t i = 0; i < 4; ++i) {
      using part = detail::wire<std::tuple<bool, double>>;
      check_refusal(grid, crossing::grid(), i * part::size, byte);
    }
    // The length, whose first byte is 5.
    check_refusal(some_bytes, crossing::some_bytes("hello"), 7, byte);
  }
  for (const unsigned char length : std::to_array<unsigned char>({11, 12, 255})) {
    check_refusal(some_bytes, crossing::some_bytes("hello"), 0, length);
  }
}

TEST_CASE("optionals and variants that a guest forged are no values", "[crossing]") {
  pool<image> machines({.max = 1});
  CROSSING_FORGED(FORGED)
  for (const unsigned char byte : std::to_array<unsigned char>({2, 7, 128, 255})) {
    check_refusal(maybe_int, crossing::maybe_int(), 0, byte);
    check_refusal(maybe_int, crossing::maybe_int(5), 0, byte);
    check_refusal(maybe_bool, crossing::maybe_bool(true), 0, byte);
    check_refusal(maybe_bool, crossing::maybe_bool(true), 1, byte);
    check_refusal(maybe_maybe, crossing::maybe_maybe(std::in_place, 'x'), 0, byte);
    check_refusal(maybe_maybe, crossing::maybe_maybe(std::in_place, 'x'), 1, byte);
    check_refusal(two_maybes, crossing::two_maybes{5, 6}, 0, byte);
    check_refusal(two_maybes, crossing::two_maybes{5, 6}, 16, byte);
  }
  // What an empty one has in place of its value does not matter.
  const auto empty = maybe_bool.try_call(changed(crossing::maybe_bool(), {{1, 255}}));
  REQUIRE(empty);
  CHECK_FALSE(empty->has_value());

  for (const unsigned char index : std::to_array<unsigned char>({3, 4, 127, 255})) {
    check_refusal(some_number, crossing::some_number(2.5), 0, index);
  }
  for (const unsigned char index : std::to_array<unsigned char>({6, 7, 255})) {
    check_refusal(anything, crossing::anything('x'), 0, index);
  }
  using anything_layout = detail::composition<crossing::anything>::type;
  check_refusal(anything, crossing::anything(true), anything_layout::value_offset, 2);
  check_refusal(anything, crossing::anything(crossing::colour::red), anything_layout::value_offset,
                2);
  check_refusal(anything, crossing::anything(crossing::flags()), anything_layout::value_offset + 2,
                2);
  check_refusal(anything, crossing::anything(crossing::bytes<3>("abc")),
                anything_layout::value_offset, 4);
  // The bytes of one alternative under the index of another.
  check_refusal(anything, crossing::anything('x'), 0, 0);

  using nested_layout = detail::composition<crossing::nested>::type;
  constexpr std::size_t inner = nested_layout::value_offset;
  check_refusal(nested, crossing::nested(std::pair(7, true)), inner + 4, 2);
  check_refusal(nested, crossing::nested(std::optional<short>(7)), inner, 2);
  check_refusal(nested, crossing::nested(std::variant<char, long>('x')), inner, 2);
  check_refusal(nested, crossing::nested(std::variant<char, long>('x')), 0, 4);
}
