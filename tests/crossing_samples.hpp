// Values of the types of kvm/guests/crossing_types.hpp. Knows nothing of how they cross.
// SPDX-License-Identifier: MIT
#pragma once

#include <type_traits>
#include <utility>

#include "kvm/guests/crossing_types.hpp"

namespace crossing {

/// sample(n) is a T; different ones for different n, as far as there are.
template <class T>
struct sampler {
  static T sample(unsigned n) {
    if constexpr (std::is_same_v<T, bool>) {
      return n % 2 == 1;
    } else {
      return static_cast<T>(n % 3 == 0 ? -static_cast<int>(n) : static_cast<int>(n * 7));
    }
  }
};

template <class T>
std::remove_const_t<T> sample(unsigned n) {
  return sampler<std::remove_const_t<T>>::sample(n);
}

template <>
struct sampler<std::monostate> {
  static std::monostate sample(unsigned) { return {}; }
};
template <>
struct sampler<colour> {
  static colour sample(unsigned n) { return n % 2 == 0 ? colour::red : colour::green; }
};
template <>
struct sampler<point> {
  static point sample(unsigned n) {
    return {crossing::sample<char>(n), crossing::sample<double>(n + 1)};
  }
};
template <>
struct sampler<flags> {
  static flags sample(unsigned n) {
    return {n % 2 == 1, {n % 3 == 1, n % 5 == 1}, crossing::sample<int>(n)};
  }
};
template <>
struct sampler<pixel> {
  static pixel sample(unsigned n) {
    return {crossing::sample<colour>(n), static_cast<std::uint8_t>(n)};
  }
};
template <>
struct sampler<line> {
  static line sample(unsigned n) { return {crossing::sample<std::array<float, 16>>(n)}; }
};
template <class T>
struct sampler<std::complex<T>> {
  static std::complex<T> sample(unsigned n) {
    return {crossing::sample<T>(n), crossing::sample<T>(n + 1)};
  }
};
template <class Rep, class Period>
struct sampler<std::chrono::duration<Rep, Period>> {
  static auto sample(unsigned n) {
    return std::chrono::duration<Rep, Period>(crossing::sample<Rep>(n));
  }
};
template <class Clock, class Duration>
struct sampler<std::chrono::time_point<Clock, Duration>> {
  static auto sample(unsigned n) {
    return std::chrono::time_point<Clock, Duration>(crossing::sample<Duration>(n));
  }
};
template <>
struct sampler<std::chrono::year_month_day> {
  static std::chrono::year_month_day sample(unsigned n) {
    return std::chrono::year(2000 + static_cast<int>(n)) / std::chrono::month(n % 12 + 1) /
           std::chrono::day(n % 28 + 1);
  }
};
template <std::size_t N>
struct sampler<bytes<N>> {
  static bytes<N> sample(unsigned n) { return bytes<N>::truncated({"abcdefghijklmnop", n % 16}); }
};
template <class T, std::size_t N>
struct sampler<std::array<T, N>> {
  static std::array<T, N> sample(unsigned n) {
    std::array<T, N> out;
    for (T& each : out) each = crossing::sample<T>(n++);
    return out;
  }
};
template <class A, class B>
struct sampler<std::pair<A, B>> {
  static std::pair<A, B> sample(unsigned n) {
    return {crossing::sample<A>(n), crossing::sample<B>(n + 1)};
  }
};
template <class... T>
struct sampler<std::tuple<T...>> {
  static std::tuple<T...> sample(unsigned n) { return make(n, std::index_sequence_for<T...>()); }
  template <std::size_t... I>
  static std::tuple<T...> make([[maybe_unused]] unsigned n, std::index_sequence<I...>) {
    return std::tuple<T...>(crossing::sample<T>(n + static_cast<unsigned>(I))...);
  }
};
template <class T>
struct sampler<std::optional<T>> {
  static std::optional<T> sample(unsigned n) {
    if (n % 3 == 0) return std::nullopt;
    return std::optional<T>(std::in_place, crossing::sample<T>(n / 3));
  }
};
template <class... T>
struct sampler<std::variant<T...>> {
  static std::variant<T...> sample(unsigned n) {
    return make(n % sizeof...(T), n, std::index_sequence_for<T...>());
  }
  template <std::size_t... I>
  static std::variant<T...> make(std::size_t index, unsigned n, std::index_sequence<I...>) {
    using maker = std::variant<T...> (*)(unsigned);
    const maker makers[]{[](unsigned from) {
      return std::variant<T...>(std::in_place_index<I>, crossing::sample<T>(from / sizeof...(T)));
    }...};
    return makers[index](n);
  }
};

}  // namespace crossing
