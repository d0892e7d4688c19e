// Every mistake that a user can make with types, as one static_assert each: its code, what is wrong
// and what to write instead. docs/errors.md has a heading for each code. Freestanding: guests that
// export a function get the same messages.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/abi/composite.hpp>
#include <virtine/abi/signature.hpp>
#include <virtine/valid_reply.hpp>

namespace virtine::detail {

/// Says whether the compiler can make a T of bytes before the program runs. It cannot if there is a
/// pointer, a reference, a union or a volatile member in it, however deep ([bit.cast]), nor if T
/// has constructors of which none is constexpr; clang cannot either with a bit-field or a vector.
/// In an array that is a member of a class g++ sees no pointer, and clang no std::nullptr_t;
/// has_member finds those of aggregates.
template <class T>
concept made_of_bytes =
    std::is_trivially_copyable_v<T> && std::is_move_constructible_v<T> && requires {
  typename std::bool_constant<(
      static_cast<void>(std::bit_cast<T>(std::array<std::byte, sizeof(T)>{})), true)>;
};

/// Recognises std::complex<float> and <double>, two numbers without padding, which clang does not
/// make of bytes. By what it has, because <complex> would bring all of <sstream> along.
template <class T>
concept is_complex = requires(const T value, typename T::value_type part) {
  requires std::is_same_v<decltype(part), float> || std::is_same_v<decltype(part), double>;
  requires sizeof(T) == 2 * sizeof(part);
  { value.real() } -> std::same_as<decltype(part)>;
  { value.imag() } -> std::same_as<decltype(part)>;
  requires std::is_same_v<T, decltype(T(part, part) * T(part, part))>;
};

template <class T>
inline constexpr bool has_valid_reply = !requires {
  valid_reply<T>::is_default;
};

template <class T>
inline constexpr bool has_byte_check = requires(std::span<const std::byte, sizeof(T)> from) {
  valid_reply<T>::check(from);
};

// NOLINTBEGIN(google-explicit-constructor)
/// Converts to a member of an aggregate, but for arrays and aggregates, whose own members take
/// their places.
struct any_member {
  template <class T>
  requires(!std::is_array_v<T> && (!std::is_aggregate_v<T> || std::is_empty_v<T>)) operator T()
      const;
};
struct any_enum {
  template <class T>
  requires(std::is_enum_v<T> && !std::is_same_v<T, std::byte>) operator T() const;
};

template <class T>
constexpr bool is_opaque();
/// Converts to what made_of_bytes overlooks in an array.
struct any_pointer {
  template <class T>
#ifdef __clang__
  requires(std::is_null_pointer_v<T>)
#else
  requires(std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T> ||
           (std::is_class_v<T> && !std::is_aggregate_v<T> && is_opaque<T>()))
#endif
  operator T() const;
};
// NOLINTEND(google-explicit-constructor)

/// Says whether a T can be made of members, one for each index, a Middle, and members again.
template <class T, class Middle, std::size_t... I, std::size_t... J>
constexpr bool is_made_of(std::index_sequence<I...>, std::index_sequence<J...>) {
  return requires {
    T{(static_cast<void>(I), any_member{})..., Middle{}, (static_cast<void>(J), any_member{})...};
  };
}

/// How many members of an aggregate, with theirs, are looked at in search of an enum or a pointer.
inline constexpr std::size_t member_search_limit = 64;

/// How many members must follow member `First` of an aggregate: none, unless there are some that
/// nothing can stand for.
template <class T, std::size_t First, std::size_t Last = member_search_limit>
constexpr std::size_t members_after() {
  if constexpr (requires { T{}; } || Last <= First) {
    return 0;
  } else if constexpr (is_made_of<T, any_member>(std::make_index_sequence<Last - 1>{},
                                                 std::index_sequence<>{})) {
    return Last - 1 - First;
  } else {
    return members_after<T, First, Last - 1>();
  }
}

/// Says whether T is an aggregate that has a member that a `Wanted` converts to, or one of its
/// members has, from number `First` on. Nothing finds one behind a private member, or behind many.
template <class T, class Wanted, std::size_t First = 0>
constexpr bool has_member() {
  if constexpr (!std::is_aggregate_v<T> || std::is_array_v<T> || First == member_search_limit) {
    return false;
  } else {
    using before = std::make_index_sequence<First>;
    using after = std::make_index_sequence<members_after<T, First>()>;
    if constexpr (is_made_of<T, Wanted>(before{}, after{})) {
      return true;
    } else if constexpr (is_made_of<T, any_member>(before{}, after{})) {
      return has_member<T, Wanted, First + 1>();
    } else {
      return false;
    }
  }
}
template <class T>
constexpr bool has_enum_member() {
  return has_member<T, any_enum>();
}

template <class T>
struct element_or_self {
  using type = T;
};
template <class T>
requires refers_to_elements<T>
struct element_or_self<T> {
  using type = std::remove_const_t<sequence_element_t<T>>;
};

template <class T>
inline constexpr bool is_pointer_like =
    std::is_pointer_v<T> || std::is_reference_v<T> || std::is_member_pointer_v<T> ||
    std::is_null_pointer_v<T> || is_fixed_span<T>;

template <class T>
inline constexpr bool is_plain = std::is_trivially_copyable_v<T> && !std::is_array_v<T>;

/// Says whether the library cannot see into T, an object of a class or union or an array of them.
template <class T>
constexpr bool is_opaque() {
  if constexpr (is_array_object<T>) {
    return is_opaque<typename T::value_type>();
  } else if constexpr (std::is_volatile_v<T>) {
    return true;
  } else if constexpr ((std::is_class_v<T> || std::is_union_v<T>)&&!is_complex<T>) {
    if constexpr (made_of_bytes<T>) {
      return has_member<T, any_pointer>();
    } else {
      return true;
    }
  } else {
    return false;
  }
}

/// Says whether there may be a pointer in T, and nobody vouches for the contrary. What cannot be
/// seen into counts: otherwise an address of the host would reach the guest, and the host would
/// follow one that the guest made up.
template <class T>
constexpr bool may_hold_pointer() {
  if constexpr (is_array_object<T>) {
    return may_hold_pointer<typename T::value_type>();
  } else {
    return is_pointer_like<T> || (is_opaque<T>() && !holds_no_pointer<T>);
  }
}

/// Says whether T is an enum, or an array of one, and nothing says which of its numbers are valid.
template <class T>
constexpr bool needs_valid_reply() {
  if constexpr (is_array_object<T>) {
    return needs_valid_reply<typename T::value_type>();
  } else {
    return std::is_enum_v<T> && !std::is_same_v<T, std::byte> && !has_valid_reply<T>;
  }
}

/// Says whether there is an enum in T, a class or an array of one, and nothing says which of its
/// numbers are valid.
template <class T>
constexpr bool needs_member_check() {
  if constexpr (is_array_object<T>) {
    return needs_member_check<typename T::value_type>();
  } else {
    return has_enum_member<T>() && !has_valid_reply<T>;
  }
}

/// Says whether nothing can say which bytes are a T before they are one.
template <class T>
constexpr bool needs_byte_check() {
  if constexpr (is_array_object<T>) {
    return needs_byte_check<typename T::value_type>();
  } else {
    return is_opaque<T>() && !has_byte_check<T>;
  }
}

// Each mistake is a class whose instantiation fails, so that the compiler's notes name the index
// and the type; of several, only the first in the order below is instantiated.

template <class...>
inline constexpr bool never = false;

template <std::size_t Index, class T>
struct pointer_argument {
  static_assert(never<T>,
                "virtine [V101]: an argument is a pointer, a reference or a span of fixed extent, "
                "which means nothing in the guest's memory. Pass the object by value, a "
                "text as std::string_view, or a std::span<const T> whose elements are copied in.");
};

template <std::size_t Index, class T>
struct owning_argument {
  static_assert(
      never<T>,
      "virtine [V102]: an argument, a part of one, or an element of a span is not trivially "
      "copyable, so its bytes alone are not its value. Pass its contents as "
      "std::span<const T> or std::string_view. If a struct has a std::pair or std::tuple as a "
      "member, replace that by a plain struct.");
};

template <class R>
struct reference_result {
  static_assert(
      never<R>,
      "virtine [V104]: the result, or a part of it, is a pointer, a reference, a span or a type "
      "that is not trivially copyable, so its bytes alone are not its value. Return a value, "
      "virtine::bytes<N>, or a struct, std::pair, tuple, optional or variant of these; or have the "
      "caller pass a std::span<T>, into which the guest writes a result of any size.");
};

template <class T>
struct unchecked_enum {
  static_assert(never<T>,
                "virtine [V106]: the guest can give an enum to the host, and nothing says which of "
                "its numbers are valid. Specialise virtine::valid_reply<E>.");
};

template <class T>
struct unchecked_enum_member {
  static_assert(never<T>,
                "virtine [V133]: the guest can give the host a struct with an enum in it, and "
                "nothing says which of its numbers are valid. Specialise virtine::valid_reply<T> "
                "for the struct.");
};

template <class T>
struct unchecked_bytes {
  static_assert(never<T>,
                "virtine [V130]: the guest can give the host a type that the library cannot see "
                "into, and nothing says which bytes are valid. Specialise virtine::valid_reply<T> "
                "with a check of its bytes, a std::span<const std::byte, sizeof(T)>.");
};

template <std::size_t Index, class T>
struct composite_element {
  static_assert(never<T>,
                "virtine [V132]: the elements of a span are a std::pair, tuple, optional or "
                "variant, or an array of these. Elements are used where they lie, and the standard "
                "does not say how these lie in memory. Make the element a struct.");
};

template <std::size_t Index, class T>
struct pointer_member {
  static_assert(
      never<T>,
      "virtine [V107]: a type has a pointer or a reference in it, "
      "or one could hide behind what it has: a union (as a std::optional or std::variant that is "
      "a member), a volatile member, constructors of which none is constexpr or, for some "
      "compilers, a bit-field or a "
      "vector. A pointer means nothing in the guest and shows it an address of the host: pass what "
      "it points to as a span of its own. If there is none, set virtine::holds_no_pointer<T>.");
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

template <class Sig>
struct too_much_lent {
  static_assert(never<Sig>,
                "virtine [V139]: more than four arguments are lent memory. Put what belongs "
                "together into one virtine::lent_memory, or copy the small ones in as "
                "std::span<const T>.");
};

template <std::size_t Index, class T>
struct lending_hypercall {
  static_assert(never<T>,
                "virtine [V136]: an argument of a hypercall is virtine::lent, which only the host "
                "passes, to the function that it calls. Write std::span<const T>.");
};

struct accepted {};

/// What is wrong with what a guest can give as a T, the rest of which is accepted.
template <class T>
using given_mistake =
    std::conditional_t<needs_valid_reply<T>(), unchecked_enum<T>,
                       std::conditional_t<needs_byte_check<T>(), unchecked_bytes<T>,
                                          std::conditional_t<needs_member_check<T>(),
                                                             unchecked_enum_member<T>, accepted>>>;

/// The first of some mistakes that is one.
template <class...>
struct first_mistake {
  using type = accepted;
};
template <class Mistake, class... Rest>
struct first_mistake<Mistake, Rest...>
    : std::conditional_t<std::is_same_v<Mistake, accepted>, first_mistake<Rest...>,
                         std::type_identity<Mistake>> {};

template <std::size_t Index, class T, class E, bool Given>
constexpr auto find_argument_mistake();

/// What is wrong with the parts of an argument.
template <std::size_t Index, bool Given, class... Part>
constexpr auto find_mistake_of_parts(type_list<Part...>) {
  return first_mistake<
      typename decltype(find_argument_mistake<Index, Part, Part, Given>())::type...>{};
}

template <std::size_t Index, class T, class E, bool Given>
constexpr auto find_argument_mistake() {
  if constexpr (is_composite<E> && refers_to_elements<T>) {
    return std::type_identity<composite_element<Index, T>>{};
  } else if constexpr (is_composite<E>) {
    return find_mistake_of_parts<Index, Given>(parts_of<E>{});
  } else if constexpr (is_pointer_like<E>) {
    return std::type_identity<pointer_argument<Index, T>>{};
  } else if constexpr (!is_plain<E>) {
    return std::type_identity<owning_argument<Index, T>>{};
  } else if constexpr (alignof(E) > 64) {
    return std::type_identity<overaligned_argument<Index, T>>{};
  } else if constexpr (may_hold_pointer<E>()) {
    return std::type_identity<pointer_member<Index, T>>{};
  } else if constexpr (Given) {
    return std::type_identity<given_mistake<E>>{};
  } else {
    return std::type_identity<accepted>{};
  }
}

/// What is wrong with argument `Index` of type T; `accepted` if nothing is.
template <std::size_t Index, class T, bool Given = is_output<T>()>
using argument_mistake =
    typename decltype(find_argument_mistake<Index, T, typename element_or_self<T>::type,
                                            Given>())::type;

template <class R, bool Given = true>
constexpr auto find_result_mistake();

/// What is wrong with the parts of a result.
template <bool Given, class... Part>
constexpr auto find_mistake_of_parts(type_list<Part...>) {
  return first_mistake<typename decltype(find_result_mistake<Part, Given>())::type...>{};
}

template <class R, bool Given>
constexpr auto find_result_mistake() {
  if constexpr (std::is_void_v<R>) {
    return std::type_identity<accepted>{};
  } else if constexpr (is_composite<R>) {
    return find_mistake_of_parts<Given>(parts_of<R>{});
  } else if constexpr (is_pointer_like<R> || refers_to_elements<R> || !is_plain<R>) {
    return std::type_identity<reference_result<R>>{};
  } else if constexpr (alignof(R) > 64) {
    return std::type_identity<overaligned_argument<0, R>>{};
  } else if constexpr (may_hold_pointer<R>()) {
    return std::type_identity<pointer_member<0, R>>{};
  } else if constexpr (Given) {
    return std::type_identity<given_mistake<R>>{};
  } else {
    return std::type_identity<accepted>{};
  }
}
template <class R, bool Given = true>
using result_mistake = typename decltype(find_result_mistake<R, Given>())::type;

template <class Sig>
inline constexpr bool is_short = signature_text<Sig>::value.size <=
                                 signature_text<Sig>::value.chars.size();

template <std::size_t Index, class T>
struct check_argument : argument_mistake<Index, T> {};
template <class R>
struct check_result : result_mistake<R> {};
template <class Sig>
struct check_length : std::conditional_t<is_short<Sig>, accepted, long_signature<Sig>> {};
template <class Sig>
struct check_lent_count
    : std::conditional_t<lent_count<Sig> <= max_lent, accepted, too_much_lent<Sig>> {};

/// Says whether nothing is wrong with a signature, without a message if something is.
template <class Sig>
inline constexpr bool is_acceptable = false;
template <class R, class... A>
inline constexpr bool is_acceptable<R(A...)> =
    std::is_same_v<result_mistake<R>, accepted>&& is_short<R(A...)>&& lent_count<R(A...)> <=
        max_lent &&
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
                                  check_lent_count<R(A...)>,
                                  check_all<R(A...), std::index_sequence_for<A...>> {};

// A hypercall goes the other way: its arguments come from the guest, its result goes there.

template <std::size_t Index, class T>
struct check_hypercall_argument
    : std::conditional_t<is_lent<T>, lending_hypercall<Index, T>,
                         argument_mistake<Index, T, is_output<T>() || !is_sequence<T>>> {};
template <class R>
struct check_hypercall_result : result_mistake<R, false> {};

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
}  // namespace virtine::detail
