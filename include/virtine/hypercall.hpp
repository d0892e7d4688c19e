// hypercall<Number, Sig>: the declaration of a request that a guest can make of its host, shared by
// both sides. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>

namespace virtine {

/// Numbers from here on are for hypercalls that the library declares.
inline constexpr std::uint32_t first_reserved_hypercall = 0xffff0000;

/// Declares a hypercall, with a number below first_reserved_hypercall. Derive from it once, in a
/// header that host and guest include:
/// `struct log_line : virtine::hypercall<1, void(std::string_view)> {};`
template <std::uint32_t Number, class Sig>
struct hypercall {
  static constexpr std::uint32_t number = Number;
  using signature_type = Sig;
};

/// A type that declares a hypercall.
template <class T>
concept hypercall_type = requires {
  typename T::signature_type;
  { T::number } -> std::convertible_to<std::uint32_t>;
  requires std::derived_from<T, hypercall<T::number, typename T::signature_type>>;
};

}  // namespace virtine
