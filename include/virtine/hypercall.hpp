// hypercall<Number, Sig>: the declaration of a request that a guest can make of its host, shared by
// both sides. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <concepts>
#include <cstdint>

namespace virtine {

/// The first number that is kept for hypercalls of the library.
inline constexpr std::uint32_t first_reserved_hypercall = 0xffff0000;

namespace detail {
/// The base of all hypercalls; those of the library have reserved numbers.
template <std::uint32_t Number, class Sig>
struct declared_hypercall {
  static constexpr std::uint32_t number = Number;
  using signature_type = Sig;
};

/// Returns `Number`, which must be below the reserved ones. Checks here and not in the class: a
/// class that fails to compile would bring a second message, that it is no hypercall.
template <std::uint32_t Number>
constexpr std::uint32_t users_number() {
  static_assert(
      Number < first_reserved_hypercall,
      "virtine [V128]: a hypercall has a number that is reserved for the library. Give it "
      "one below 0xffff0000.");
  return Number;
}
}  // namespace detail

/// Declares a hypercall, with a number below first_reserved_hypercall. Derive from it once, in a
/// header that host and guest include:
/// `struct log_line : virtine::hypercall<1, void(std::string_view)> {};`
template <std::uint32_t Number, class Sig>
struct hypercall : detail::declared_hypercall<Number, Sig> {
  static constexpr std::uint32_t number = detail::users_number<Number>();
};

/// A type that declares a hypercall.
template <class T>
concept hypercall_type = requires {
  typename T::signature_type;
  { T::number } -> std::convertible_to<std::uint32_t>;
  requires std::derived_from<T, detail::declared_hypercall<T::number, typename T::signature_type>>;
};

}  // namespace virtine
