// What a user says of a type that the library cannot judge: which of its values are valid, and that
// it holds no pointer. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

namespace virtine {

/// Specialise this for an enum that a guest may return or pass to a hypercall, and, if its members
/// restrict what bytes are valid, for a struct: `static constexpr bool check(T value)` says whether
/// the value may exist. For an enum, `value` may be any number of the underlying type.
///
/// For a type that the library cannot see into (holds_no_pointer), `check` takes the bytes instead,
/// a `std::span<const std::byte, sizeof(T)>`: they may hold a bool that is neither true nor false,
/// which must not be looked at as one.
template <class T>
struct valid_reply {
  static constexpr bool is_default = true;
};

/// Set this, after making sure that it holds no pointer, for a type that the library cannot see
/// into: one with a union or a volatile member in it, a class with constructors of which none is
/// constexpr or, for some compilers, a class with a bit-field or a vector.
template <class T>
inline constexpr bool holds_no_pointer = false;

}  // namespace virtine
