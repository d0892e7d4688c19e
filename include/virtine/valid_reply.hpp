// What a program states about types that the library cannot judge: which values are valid, and that
// a type holds no pointer. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

namespace virtine {

/// Specialise this for an enum that a guest may return or pass to a hypercall, and for a struct
/// whose members restrict what bytes are valid. `static constexpr bool check(T value)` returns
/// whether the value is valid. For an enum, `value` may be any number of the underlying type.
///
/// For a type that the library cannot see into (holds_no_pointer), `check` takes the bytes instead,
/// a `std::span<const std::byte, sizeof(T)>`. They may hold a bool that is neither true nor false,
/// which must not be read as a bool.
template <class T>
struct valid_reply {
  static constexpr bool is_default = true;
};

/// Set this to true for a type that the library cannot see into, after making sure that it holds no
/// pointer. Such a type has a union or a volatile member in it, or is a class with constructors of
/// which none is constexpr, or, for some compilers, a class with a bit-field or a vector.
template <class T>
inline constexpr bool holds_no_pointer = false;

}  // namespace virtine
