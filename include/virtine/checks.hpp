// Every mistake that a user can make with types, as one static_assert each: its code, what is wrong
// and what to write instead. docs/errors.md has a heading for each code. Freestanding: guests that
// export a function get the same messages.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/signature.hpp>

namespace virtine {

/// Specialise this for an enum that a guest may return or pass to a hypercall, and, if its members
/// restrict what bytes are valid, for a struct: `static constexpr bool check(T value)` says whether
/// the value may exist. For an enum, `value` may be any number of the underlying type.
template <class T>
struct valid_reply {
  static constexpr bool is_default = true;
};

/// Set this for a struct with a union or a bit-field, whose bytes a compiler does not show before
/// the program runs, after making sure that it holds no pointer.
template <class T>
inline constexpr bool holds_no_pointer = false;

namespace detail {

/// Says whether byte I of a T{} holds part of a value and is known at compile time. It is not if it
/// is padding; and no byte is if T holds a pointer, a reference, a union or a bit-field.
template <class T, std::size_t I>
concept value_byte = requires {
  typename std::integral_constant<bool, std::bit_cast<std::array<std::byte, sizeof(T)>>(T{})[I] ==
                                            std::byte{0}>;
};

template <class T>
concept constant_default = requires {
  typename std::integral_constant<bool, (T{}, true)>;
};

template <class T>
inline constexpr bool has_valid_reply = !requires {
  valid_reply<T>::is_default;
};

template <class T>
inline constexpr bool needs_valid_reply =
    std::is_enum_v<T> && !std::is_same_v<T, std::byte> && !has_valid_reply<T>;

template <class T>
struct element_or_self {
  using type = T;
};
template <class T>
requires is_sequence<T>
struct element_or_self<T> {
  using type = std::remove_const_t<sequence_element_t<T>>;
};

template <class T>
inline constexpr bool is_pointer_like =
    std::is_pointer_v<T> || std::is_reference_v<T> || std::is_member_pointer_v<T> ||
    std::is_null_pointer_v<T> || is_fixed_span<T>;

template <class T>
inline constexpr bool is_plain = std::is_trivially_copyable_v<T> && !std::is_array_v<T>;

template <class T>
inline constexpr bool may_hold_pointer =
    std::is_class_v<T> && !std::is_empty_v<T> && !holds_no_pointer<T> && constant_default<T> &&
    !value_byte<T, 0>;

// Each mistake is a class whose instantiation fails, so that the compiler's notes name the index
// and the type; of several, only the first in the order below is instantiated.

template <class...>
inline constexpr bool never = false;

template <std::size_t Index, class T>
struct pointer_argument {
  static_assert(never<T>,
                "virtine [V101]: an argument is a pointer, a reference or a span of fixed extent, "
                "which means nothing in the guest's memory. Pass the object by value, or a "
                "std::span<const T> whose "
                "elements are copied in.");
};

template <std::size_t Index, class T>
struct owning_argument {
  static_assert(never<T>,
                "virtine [V102]: an argument, or an element of a span, is not trivially copyable, "
                "so its bytes alone are not its value. Pass its contents as std::span<const T> or "
                "std::string_view.");
};

template <class R>
struct reference_result {
  static_assert(never<R>,
                "virtine [V104]: the result is a pointer, a reference, a span or an owning type, "
                "whose contents stay behind in the guest. Return a value, or virtine::bytes<N>.");
};

template <class T>
struct unchecked_enum {
  static_assert(never<T>,
                "virtine [V106]: the guest can give an enum to the host, and nothing says which of "
                "its numbers are valid. Specialise virtine::valid_reply<E>.");
};

template <std::size_t Index, class T>
struct pointer_member {
  static_assert(
      never<T>,
      "virtine [V107]: a struct has a pointer or reference member, which means nothing in "
      "the guest and shows it an address of the host. Pass what it points to as a span of "
      "its own; if there is no pointer but a union or a bit-field, set "
      "virtine::holds_no_pointer<T>.");
};

template <std::size_t Index, class T>
struct overaligned_argument {
  static_assert(never<T>,
                "virtine [V108]: a type asks for an alignment above 64 bytes, more than a call "
                "frame gives. Lower its alignas.");
};

template <class Sig>
struct long_signature {
  static_assert(never<Sig>,
                "virtine [V115]: the signature's id has more than 256 characters. Put arguments "
                "together in a struct or a std::span.");
};

struct accepted {};

/// What is wrong with argument `Index` of type T; `accepted` if nothing is.
template <std::size_t Index, class T, class E = typename element_or_self<T>::type>
using argument_mistake = std::conditional_t<
    is_pointer_like<E>, pointer_argument<Index, T>,
    std::conditional_t<
        !is_plain<E>, owning_argument<Index, T>,
        std::conditional_t<
            (alignof(E) > 64), overaligned_argument<Index, T>,
            std::conditional_t<may_hold_pointer<E>, pointer_member<Index, T>,
                               std::conditional_t<is_output<T>() && needs_valid_reply<E>,
                                                  unchecked_enum<E>, accepted>>>>>;

template <class R>
using result_mistake = std::conditional_t<
    is_pointer_like<R> || is_sequence<R> || !(std::is_void_v<R> || is_plain<R>),
    reference_result<R>,
    std::conditional_t<may_hold_pointer<R>, pointer_member<0, R>,
                       std::conditional_t<needs_valid_reply<R>, unchecked_enum<R>, accepted>>>;

template <class Sig>
inline constexpr bool is_short = signature_text<Sig>::value.size <=
                                 signature_text<Sig>::value.chars.size();

template <std::size_t Index, class T>
struct check_argument : argument_mistake<Index, T> {};
template <class R>
struct check_result : result_mistake<R> {};
template <class Sig>
struct check_length : std::conditional_t<is_short<Sig>, accepted, long_signature<Sig>> {};

/// Says whether nothing is wrong with a signature, without a message if something is.
template <class Sig>
inline constexpr bool is_acceptable = false;
template <class R, class... A>
inline constexpr bool is_acceptable<R(A...)> =
    std::is_same_v<result_mistake<R>, accepted>&& is_short<R(A...)> &&
    (std::is_same_v<argument_mistake<0, A>, accepted> && ...);

template <class Sig, class Indices>
struct check_all;
template <class R, class... A, std::size_t... I>
struct check_all<R(A...), std::index_sequence<I...>> : check_result<R>, check_argument<I, A>... {};

/// Checks every type of a signature by being instantiated.
template <class Sig>
struct check_signature;
template <class R, class... A>
struct check_signature<R(A...)> : check_length<R(A...)>,
                                  check_all<R(A...), std::index_sequence_for<A...>> {};

// A hypercall goes the other way: its arguments come from the guest, its result goes there.

template <std::size_t Index, class T>
using hypercall_argument_mistake =
    std::conditional_t<std::is_same_v<argument_mistake<Index, T>, accepted> && needs_valid_reply<T>,
                       unchecked_enum<T>, argument_mistake<Index, T>>;
template <class R>
using hypercall_result_mistake =
    std::conditional_t<std::is_same_v<result_mistake<R>, unchecked_enum<R>>, accepted,
                       result_mistake<R>>;

template <std::size_t Index, class T>
struct check_hypercall_argument : hypercall_argument_mistake<Index, T> {};
template <class R>
struct check_hypercall_result : hypercall_result_mistake<R> {};

template <class Sig, class Indices>
struct check_all_of_hypercall;
template <class R, class... A, std::size_t... I>
struct check_all_of_hypercall<R(A...), std::index_sequence<I...>>
    : check_hypercall_result<R>, check_hypercall_argument<I, A>... {};

/// Checks every type of a hypercall's signature by being instantiated.
template <class Sig>
struct check_hypercall;
template <class R, class... A>
struct check_hypercall<R(A...)> : check_all_of_hypercall<R(A...), std::index_sequence_for<A...>> {};

}  // namespace detail
}  // namespace virtine
