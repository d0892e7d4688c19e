// Types that cross the boundary, each under a name of its own.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <chrono>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ratio>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>

#include <virtine/abi/composite.hpp>
#include <virtine/bytes.hpp>
#include <virtine/valid_reply.hpp>

namespace crossing {

enum class colour : std::int16_t { red = -1, green = 1 };
struct point {
  char name = 0;
  double x = 0;
  friend bool operator==(const point&, const point&) = default;
};
struct flags {
  bool first = false;
  std::array<bool, 2> more{};
  int number = 0;
  friend bool operator==(const flags&, const flags&) = default;
};
struct pixel {
  colour shade = colour::red;
  std::uint8_t alpha = 0;
  friend bool operator==(const pixel&, const pixel&) = default;
};
class whole {
 public:
  whole() = delete;
  constexpr explicit whole(int value) : value_(value) {}
  friend bool operator==(const whole&, const whole&) = default;

 private:
  int value_;
};
struct alignas(64) line {
  std::array<float, 16> values{};
  friend bool operator==(const line&, const line&) = default;
};

using std::array, std::complex, std::optional, std::pair, std::tuple, std::variant, virtine::bytes;
using frames = std::chrono::duration<double, std::ratio<1, 30>>;
using nanoseconds = std::chrono::nanoseconds;
using moment = std::chrono::system_clock::time_point;

// What crosses as its bytes.
using a_bool = bool;
using a_char = char;
using a_utf16 = char16_t;
using a_short = short;
using an_unsigned = unsigned;
using a_long = long;
using a_float = float;
using a_double = double;
using a_long_double = long double;
using a_byte = std::byte;
using a_colour = colour;
using a_point = point;
using a_flags = flags;
using a_pixel = pixel;
using a_line = line;
using some_bytes = bytes<10>;
using an_array = array<point, 2>;
using float_complex = complex<float>;
using double_complex = complex<double>;
using some_frames = frames;
using some_nanoseconds = nanoseconds;
using a_moment = moment;
using a_date = std::chrono::year_month_day;

// What crosses part by part.
using numbers = pair<int, double>;
using const_pair = pair<const char, long>;
using no_tuple = tuple<>;
using one_bool = tuple<bool>;
using tuple_in_tuple = tuple<tuple<int>, float>;
using gaps = tuple<char, double, char, short>;
using with_line = pair<char, line>;
using times = tuple<nanoseconds, moment, frames>;
using points = pair<point, flags>;
using maybe_int = optional<int>;
using maybe_bool = optional<bool>;
using maybe_point = optional<point>;
using maybe_maybe = optional<optional<char>>;
using maybe_numbers = optional<pair<int, double>>;
using maybe_complex = optional<complex<double>>;
using maybe_bytes = optional<bytes<6>>;
using maybe_colour = optional<colour>;
using maybe_whole = optional<whole>;
using maybe_moment = optional<moment>;
using only_int = variant<int>;
using some_number = variant<std::monostate, int, double>;
using one_of_two = variant<int, int>;
using anything = variant<bool, char, colour, pixel, flags, bytes<3>>;
using nested = variant<pair<int, bool>, tuple<double>, optional<short>, variant<char, long>>;
using whole_or_float = variant<whole, float>;
using three_pairs = array<pair<char, int>, 3>;
using two_maybes = array<optional<long>, 2>;
using grid = array<array<tuple<bool, double>, 2>, 2>;
using all_at_once = pair<array<optional<int>, 2>, tuple<variant<float, bytes<3>>, frames>>;

// clang-format never comes to an end with these.
// clang-format off
#define CROSSING_BYTES(EACH) \
  EACH(a_bool) EACH(a_char) EACH(a_utf16) EACH(a_short) EACH(an_unsigned) EACH(a_long) \
  EACH(a_float) EACH(a_double) EACH(a_long_double) EACH(a_byte) EACH(a_colour) EACH(a_point) \
  EACH(a_flags) EACH(a_pixel) EACH(a_line) EACH(some_bytes) EACH(an_array) \
  EACH(float_complex) EACH(double_complex) EACH(some_frames) EACH(some_nanoseconds) \
  EACH(a_moment) EACH(a_date)
#define CROSSING_PARTS(EACH) \
  EACH(numbers) EACH(const_pair) EACH(no_tuple) EACH(one_bool) EACH(tuple_in_tuple) \
  EACH(gaps) EACH(with_line) EACH(times) EACH(points) EACH(maybe_int) EACH(maybe_bool) \
  EACH(maybe_point) EACH(maybe_maybe) EACH(maybe_numbers) EACH(maybe_complex) \
  EACH(maybe_bytes) EACH(maybe_colour) EACH(maybe_whole) EACH(maybe_moment) EACH(only_int) \
  EACH(some_number) EACH(one_of_two) EACH(anything) EACH(nested) EACH(whole_or_float) \
  EACH(three_pairs) EACH(two_maybes) EACH(grid) EACH(all_at_once)
// clang-format on

// Of what crosses, that of which not every pattern of bytes is one.
#define CROSSING_FORGED(EACH) \
  EACH(a_bool)                \
  EACH(a_colour)              \
  EACH(a_flags)               \
  EACH(a_pixel)               \
  EACH(some_bytes)            \
  EACH(one_bool)              \
  EACH(maybe_int)             \
  EACH(maybe_bool)            \
  EACH(maybe_maybe) EACH(some_number) EACH(anything) EACH(nested) EACH(two_maybes) EACH(grid)

/// The bytes of a T in a call frame.
template <class T>
using bytes_of = array<std::byte, virtine::detail::wire<T>::size>;

}  // namespace crossing

template <>
struct virtine::valid_reply<crossing::colour> {
  static constexpr bool check(crossing::colour value) {
    return value == crossing::colour::red || value == crossing::colour::green;
  }
};
template <>
struct virtine::valid_reply<crossing::pixel> {
  static constexpr bool check(crossing::pixel value) {
    return valid_reply<crossing::colour>::check(value.shade);
  }
};
