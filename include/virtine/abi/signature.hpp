// The structural id of a function signature: a short text that the host's compiler and the guest's
// compute alike, so that they can be compared when the host is compiled. docs/guest-abi.md has the
// grammar. Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include <virtine/abi/composite.hpp>
#include <virtine/bytes.hpp>

namespace virtine {
template <class T>
class lent;  // A host's way to pass a std::span<const T>; see lent.hpp.
}

namespace virtine::detail {

template <class T>
inline constexpr bool is_span = false;
template <class T>
inline constexpr bool is_span<std::span<T>> = true;

/// A span of fixed extent would bring its pointer along as if it were a value.
template <class T>
inline constexpr bool is_fixed_span = false;
template <class T, std::size_t Extent>
requires(Extent !=
         std::dynamic_extent) inline constexpr bool is_fixed_span<std::span<T, Extent>> = true;

/// Says whether T crosses the boundary as a reference to elements: a span or a string_view.
template <class T>
inline constexpr bool is_sequence = is_span<T> || std::is_same_v<T, std::string_view>;

/// Says whether T is memory that the guest is lent: to the guest a span.
template <class T>
inline constexpr bool is_lent = false;
template <class T>
inline constexpr bool is_lent<lent<T>> = true;

/// Says whether T lies in a frame as a reference to elements.
template <class T>
inline constexpr bool refers_to_elements = is_sequence<T> || is_lent<T>;

/// The element type of a sequence, const if the guest only reads it.
template <class T>
struct sequence_element;
template <class T>
struct sequence_element<std::span<T>> {
  using type = T;
};
template <>
struct sequence_element<std::string_view> {
  using type = const char;
};
template <class T>
struct sequence_element<lent<T>> {
  using type = const T;
};
template <class T>
using sequence_element_t = typename sequence_element<T>::type;

/// Says whether the host copies the elements back after the call.
template <class T>
constexpr bool is_output() {
  if constexpr (is_sequence<T>) {
    return !std::is_const_v<sequence_element_t<T>>;
  } else {
    return false;
  }
}

/// A text of bounded length that is built at compile time; what does not fit is counted only.
struct id_text {
  std::array<char, 256> chars{};
  std::size_t size = 0;

  constexpr void append(char c) {
    if (size < chars.size()) chars[size] = c;
    ++size;
  }
  constexpr void append(std::size_t number) {
    if (number >= 10) append(number / 10);
    append(static_cast<char>('0' + number % 10));
  }
  constexpr std::string_view view() const {
    return {chars.data(), size < chars.size() ? size : chars.size()};
  }
};

template <class T>
constexpr void append_kind(id_text& out);

template <class... T>
constexpr void append_shape(id_text& out, product<T...>) {
  out.append('<');
  bool first = true;
  (((first ? void(first = false) : out.append(',')), append_kind<T>(out)), ...);
  out.append('>');
}
template <class... T>
constexpr void append_shape(id_text& out, sum<T...>) {
  out.append('<');
  ((out.append('|'), append_kind<T>(out)), ...);
  out.append('>');
}
template <class T>
constexpr void append_shape(id_text& out, sum<nothing, T>) {
  out.append('o');
  append_kind<T>(out);
}

template <class T>
constexpr void append_kind(id_text& out) {
  if constexpr (std::is_void_v<T>) {
    out.append('v');
  } else if constexpr (std::is_same_v<T, bool>) {
    out.append('b');
  } else if constexpr (std::is_enum_v<T>) {
    out.append('e');
    append_kind<std::underlying_type_t<T>>(out);
  } else if constexpr (std::is_integral_v<T>) {
    out.append(std::is_signed_v<T> ? 'i' : 'u');
    out.append(sizeof(T));
  } else if constexpr (std::is_floating_point_v<T>) {
    out.append('f');
    out.append(sizeof(T));
  } else if constexpr (std::is_same_v<T, std::string_view>) {
    out.append('s');
  } else if constexpr (is_span<T> || is_lent<T>) {
    using element = sequence_element_t<T>;
    out.append('[');
    if (!std::is_const_v<element>) out.append('=');
    append_kind<std::remove_const_t<element>>(out);
    out.append(']');
  } else if constexpr (is_bytes<T>) {
    out.append('y');
    out.append(T::capacity());
  } else if constexpr (is_composite<T> && is_array_object<T>) {
    out.append(std::tuple_size_v<T>);
    out.append('*');
    append_kind<std::remove_const_t<typename T::value_type>>(out);
  } else if constexpr (is_composite<T>) {
    append_shape(out, typename composition<T>::type{});
  } else {
    out.append('{');
    out.append(sizeof(T));
    out.append('.');
    out.append(alignof(T));
    out.append('}');
  }
}

template <class Sig>
struct signature_text;

template <class R, class... A>
struct signature_text<R(A...)> {
  static constexpr id_text make() {
    id_text out;
    append_kind<R>(out);
    out.append('(');
    bool first = true;
    (((first ? void(first = false) : out.append(',')), append_kind<A>(out)), ...);
    out.append(')');
    return out;
  }
  static constexpr id_text value = make();
};

/// The structural id of the function type `Sig`, for example "i4(i4,[u1],s)". It tells kinds, sizes
/// and alignments, not names: two structs of one size and alignment are alike.
template <class Sig>
inline constexpr std::string_view signature = signature_text<Sig>::value.view();

static_assert(signature<int(unsigned char, bool)> == "i4(u1,b)");
static_assert(signature<std::optional<int>(std::pair<bool, float>, std::variant<int, char>)> ==
              "oi4(<b,f4>,<|i4|i1>)");
static_assert(signature<void(std::string_view, std::span<const double>, std::span<long>)> ==
              "v(s,[f8],[=i8])");
static_assert(signature<void(lent<const double>)> == signature<void(std::span<const double>)>);

/// How many arguments of a call can be lent memory.
inline constexpr std::size_t max_lent = 4;

/// How many arguments of `Sig` are lent memory.
template <class Sig>
inline constexpr std::size_t lent_count = 0;
template <class R, class... A>
inline constexpr std::size_t lent_count<R(A...)> = (std::size_t{0} + ... + (is_lent<A> ? 1 : 0));

}  // namespace virtine::detail
