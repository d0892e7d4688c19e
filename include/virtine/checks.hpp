// Every mistake that a user can make with types, as one static_assert each: its code, what is wrong
// and what to write instead. docs/errors.md has a heading for each code. Freestanding: guests that
// export a function get the same messages.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <virtine/signature.hpp>

namespace virtine {

/// Specialise this for an enum that a guest may return or pass to a hypercall, and, if its members
/// restrict what bytes are valid, for a struct: `static constexpr bool check(T value)` says whether
/// the value may exist. For an enum, `value` may be any number of the underlying type.
template <class T>
struct valid_reply {
  static constexpr bool is_default = true;
};

namespace detail {

template <class T>
inline constexpr bool has_valid_reply = !requires {
  valid_reply<T>::is_default;
};

template <class T>
inline constexpr bool needs_valid_reply =
    std::is_enum_v<T> && !std::is_same_v<T, std::byte> && !has_valid_reply<T>;

// Each check is a base class, so that the compiler's note names its index and type; a check runs
// only if those before it hold, so that one mistake gives one message.

template <std::size_t Index, class T>
struct check_not_pointer {
  static constexpr bool ok = !std::is_pointer_v<T> && !std::is_reference_v<T> &&
                             !std::is_member_pointer_v<T> && !std::is_null_pointer_v<T>;
  static_assert(ok,
                "virtine [V101]: an argument is a pointer or a reference, which means nothing in "
                "the guest's memory. Pass the object by value, or a std::span<const T> whose "
                "elements are copied in.");
};

template <std::size_t Index, class T>
struct check_copyable {
  static constexpr bool ok = std::is_trivially_copyable_v<T> && !std::is_array_v<T>;
  static_assert(ok,
                "virtine [V102]: an argument, or an element of a span, is not trivially copyable, "
                "so its bytes alone are not its value. Pass its contents as std::span<const T> or "
                "std::string_view.");
};

template <class T, class = void>
struct element_or_self {
  using type = T;
};
template <class T>
struct element_or_self<T, std::enable_if_t<is_sequence<T>>> {
  using type = std::remove_const_t<sequence_element_t<T>>;
};
template <class T>
using element_or_self_t = typename element_or_self<T>::type;

template <std::size_t Index, class T>
struct check_alignment {
  static constexpr bool ok = alignof(T) <= 64;
  static_assert(ok,
                "virtine [V108]: a type asks for an alignment above 64 bytes, more than a call "
                "frame gives. Lower its alignas.");
};

template <class T>
struct check_output_element {
  static constexpr bool ok = !needs_valid_reply<T>;
  static_assert(ok,
                "virtine [V106]: the guest can return an enum, and nothing says which of its "
                "numbers are valid. Specialise virtine::valid_reply<E>.");
};

struct passed {
  static constexpr bool ok = true;
};

template <bool Run, template <std::size_t, class> class Check, std::size_t Index, class T>
using check_if = std::conditional_t<Run, Check<Index, T>, passed>;

/// Checks argument `Index` of type T.
template <std::size_t Index, class T, bool NotPointer = check_not_pointer<Index, T>::ok>
struct check_argument : check_not_pointer<Index, T> {};

template <std::size_t Index, class T>
struct check_argument<Index, T, true> : check_not_pointer<Index, element_or_self_t<T>>,
                                        check_if<check_not_pointer<Index, element_or_self_t<T>>::ok,
                                                 check_copyable, Index, element_or_self_t<T>>,
                                        check_if<check_not_pointer<Index, element_or_self_t<T>>::ok,
                                                 check_alignment, Index, element_or_self_t<T>> {
  static_assert(!is_output<T>() || check_output_element<element_or_self_t<T>>::ok);
};

template <class R>
struct check_result_kind {
  static constexpr bool ok = !std::is_pointer_v<R> && !std::is_reference_v<R> && !is_sequence<R> &&
                             (std::is_void_v<R> || std::is_trivially_copyable_v<R>);
  static_assert(ok,
                "virtine [V104]: the result is a pointer, reference, span, string_view or owning "
                "type, whose contents stay behind in the guest. Return a value, or "
                "virtine::bytes<N>.");
};

/// Checks a result type.
template <class R, bool Kind = check_result_kind<R>::ok>
struct check_result : check_result_kind<R> {};
template <class R>
struct check_result<R, true> : check_output_element<R> {};

template <class Sig, class Indices>
struct check_all;
template <class R, class... A, std::size_t... I>
struct check_all<R(A...), std::index_sequence<I...>> : check_result<R>, check_argument<I, A>... {};

/// Checks every type of a signature.
template <class Sig>
struct check_signature;
template <class R, class... A>
struct check_signature<R(A...)> : check_all<R(A...), std::index_sequence_for<A...>> {};

}  // namespace detail
}  // namespace virtine
