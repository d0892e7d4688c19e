// Types of the standard library that cross part by part: std::pair, tuple, optional, variant and
// std::array of these. How they lie in memory is the standard library's business, so here is how
// they lie in a call frame. Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace virtine::detail {

template <class...>
struct type_list {};

/// What an optional holds instead of a value.
struct nothing {};

/// Pairs and tuples lie like a struct of their parts.
template <class... T>
struct product;
/// Optionals and variants lie like a struct of a byte, which says what they hold, and a union.
template <class... T>
struct sum;

/// How T crosses if it does so part by part: a product or a sum of `parts`.
template <class T>
struct composition {};
template <class A, class B>
struct composition<std::pair<A, B>> {
  using type = product<std::remove_const_t<A>, std::remove_const_t<B>>;
};
template <class... T>
struct composition<std::tuple<T...>> {
  using type = product<std::remove_const_t<T>...>;
};
template <class T>
struct composition<std::optional<T>> {
  using type = sum<nothing, std::remove_const_t<T>>;
};
template <class... T>
struct composition<std::variant<T...>> {
  using type = sum<std::remove_const_t<T>...>;
};

template <class T>
inline constexpr bool is_array_object = false;
template <class T, std::size_t N>
inline constexpr bool is_array_object<std::array<T, N>> = N != 0;

/// Says whether T crosses part by part, and not as its bytes.
template <class T>
inline constexpr bool is_composite = requires {
  typename composition<T>::type;
};
template <class T, std::size_t N>
inline constexpr bool is_composite<std::array<T, N>> = N != 0 && is_composite<T>;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

constexpr std::size_t align_up(std::size_t value, std::size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// How much room something takes in a call frame. The functions below say how parts lie there, for
/// types that the compiler knows and for those that are known at run time only.
struct extent {
  std::size_t size = 0;
  std::size_t alignment = 1;
};

/// Places parts one after the other from `at` on, and returns where the last ends.
constexpr std::size_t place_parts(std::size_t at, std::span<const extent> parts,
                                  std::span<std::size_t> places) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    places[i] = align_up(at, parts[i].alignment);
    at = places[i] + parts[i].size;
  }
  return at;
}

/// Returns the largest size and the largest alignment of parts, and one byte at least.
constexpr extent largest_of(std::span<const extent> parts) {
  extent out{1, 1};
  for (const extent& part : parts) {
    out = {std::max(out.size, part.size), std::max(out.alignment, part.alignment)};
  }
  return out;
}

/// Places the parts of a pair or tuple.
constexpr extent place_product(std::span<const extent> parts, std::span<std::size_t> places) {
  const std::size_t alignment = largest_of(parts).alignment;
  const std::size_t end = place_parts(0, parts, places);
  return {align_up(std::max(end, std::size_t{1}), alignment), alignment};
}

/// Returns the room of a variant of `alternatives`: its index, then, at its alignment, its value.
constexpr extent extent_of_sum(std::span<const extent> alternatives) {
  const extent value = largest_of(alternatives);
  return {value.alignment + align_up(value.size, value.alignment), value.alignment};
}

/// Places the arguments behind a result of `result_size` bytes; returns the size of the frame.
constexpr std::size_t place_arguments(std::size_t result_size, std::span<const extent> arguments,
                                      std::span<std::size_t> places) {
  return align_up(place_parts(result_size, arguments, places), 16);
}

/// The size and the alignment of a T in a call frame.
template <class T>
struct wire {
  static constexpr std::size_t size = sizeof(T);
  static constexpr std::size_t alignment = alignof(T);
};
template <class T>
requires is_composite<T>
struct wire<T> : composition<T>::type {
};
template <class T, std::size_t N>
requires is_composite<std::array<T, N>>
struct wire<std::array<T, N>> {
  static constexpr std::size_t size = N * wire<T>::size;
  static constexpr std::size_t alignment = wire<T>::alignment;
};

template <class T>
inline constexpr extent extent_of{wire<T>::size, wire<T>::alignment};

template <class... T>
struct product {
  using parts = type_list<T...>;

 private:
  struct placed {
    std::array<std::size_t, sizeof...(T)> offsets;
    extent room;
  };
  static constexpr placed place() {
    placed out{};
    out.room = place_product(std::array<extent, sizeof...(T)>{extent_of<T>...}, out.offsets);
    return out;
  }
  static constexpr placed layout = place();

 public:
  static constexpr std::size_t alignment = layout.room.alignment;
  static constexpr std::size_t size = layout.room.size;
  /// Where each part lies.
  static constexpr std::array<std::size_t, sizeof...(T)> offsets = layout.offsets;
};

template <class... T>
struct sum {
  using parts = type_list<T...>;

 private:
  static constexpr extent room = extent_of_sum(std::array<extent, sizeof...(T)>{extent_of<T>...});

 public:
  static constexpr std::size_t alignment = room.alignment;
  static constexpr std::size_t size = room.size;
  /// Where the value lies, behind the index at 0.
  static constexpr std::size_t value_offset = alignment;
};

template <class T>
struct parts {
  using type = typename composition<T>::type::parts;
};
template <class T, std::size_t N>
struct parts<std::array<T, N>> {
  using type = type_list<std::remove_const_t<T>>;
};
/// The types of what a composite T consists of.
template <class T>
using parts_of = typename parts<T>::type;

/// Writes all bytes of a T in a call frame; `write(at, part)` writes a part that crosses as its
/// bytes. A variant without a value gets an index that is none.
template <class T, class Write>
void put(std::byte* to, const T& value, const Write& write) {
  if constexpr (!is_composite<T>) {
    write(to, value);
  } else if constexpr (is_array_object<T>) {
    for (const auto& element : value) {
      put(to, element, write);
      to += wire<typename T::value_type>::size;
    }
  } else {
    using shape = typename composition<T>::type;
    std::memset(to, 0, shape::size);
    if constexpr (is_optional<T>) {
      to[0] = static_cast<std::byte>(value.has_value());
      if (value) put(to + shape::value_offset, *value, write);
    } else if constexpr (requires { value.index(); }) {
      to[0] = static_cast<std::byte>(value.index());
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((value.index() == I ? put(to + shape::value_offset, *std::get_if<I>(&value), write)
                             : void()),
         ...);
      }
      (std::make_index_sequence<std::variant_size_v<T>>{});
    } else {
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        (put(to + shape::offsets[I], std::get<I>(value), write), ...);
      }
      (std::make_index_sequence<std::tuple_size_v<T>>{});
    }
  }
}

/// Writes a part as a guest does, whose padding is no secret.
inline constexpr auto write_part = []<class T>(std::byte* to, const T& part) {
  std::memcpy(to, &part, sizeof(T));
};

/// Returns the T whose bytes in a call frame are at `from`; they are known to be those of one.
template <class T>
T take(const std::byte* from);

/// The same for a variant that holds alternative I or a later one.
template <class T, std::size_t I = 0>
T take_alternative(const std::byte* from) {
  if constexpr (I == std::variant_size_v<T>) {
    // Only a guest comes here: its host's variant had lost its value by an exception.
    __builtin_trap();
  } else {
    if (std::to_integer<std::size_t>(from[0]) != I) return take_alternative<T, I + 1>(from);
    using alternative = std::remove_const_t<std::variant_alternative_t<I, T>>;
    using shape = typename composition<T>::type;
    return T(std::in_place_index<I>, take<alternative>(from + shape::value_offset));
  }
}

template <class T>
T take(const std::byte* from) {
  if constexpr (!is_composite<T>) {
    alignas(T) std::byte copy[sizeof(T)];
    std::memcpy(copy, from, sizeof(T));
    return std::bit_cast<T>(copy);
  } else if constexpr (is_array_object<T>) {
    using element = std::remove_const_t<typename T::value_type>;
    return [from]<std::size_t... I>(std::index_sequence<I...>) {
      return T{{take<element>(from + I * wire<element>::size)...}};
    }
    (std::make_index_sequence<std::tuple_size_v<T>>{});
  } else if constexpr (is_optional<T>) {
    using shape = typename composition<T>::type;
    if (from[0] == std::byte{0}) return T(std::nullopt);
    return T(std::in_place,
             take<std::remove_const_t<typename T::value_type>>(from + shape::value_offset));
  } else if constexpr (requires(const T& value) { value.index(); }) {
    return take_alternative<T>(from);
  } else {
    return [&]<class... Part, std::size_t... I>(type_list<Part...>, std::index_sequence<I...>) {
      return T(take<Part>(from + composition<T>::type::offsets[I])...);
    }(parts_of<T>{}, std::make_index_sequence<std::tuple_size_v<T>>{});
  }
}

}  // namespace virtine::detail
