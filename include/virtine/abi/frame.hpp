// The call frame: where the result and each argument of a signature lie in guest memory, fixed at
// compile time for both sides. Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <virtine/abi/checks.hpp>
#include <virtine/abi/composite.hpp>
#include <virtine/abi/signature.hpp>

namespace virtine::detail {

/// How a span or string_view lies in a frame: the guest address of its first element and their
/// number. An empty one may have any address.
struct sequence_reference {
  std::uint64_t address = 0;
  std::uint64_t count = 0;
};

template <class T>
using frame_slot = wire<std::conditional_t<refers_to_elements<T>, sequence_reference, T>>;

template <class T>
constexpr std::size_t result_size() {
  if constexpr (std::is_void_v<T>) {
    return 0;
  } else {
    return wire<T>::size;
  }
}

template <class Sig>
struct frame_layout;

template <class R, class... A>
struct frame_layout<R(A...)> {
 private:
  static constexpr std::array<std::size_t, sizeof...(A) + 1> layout() {
    constexpr std::array<extent, sizeof...(A)> slots{
        extent{frame_slot<A>::size, frame_slot<A>::alignment}...};
    std::array<std::size_t, sizeof...(A) + 1> starts{};
    starts[sizeof...(A)] = place_arguments(result_size<R>(), slots, starts);
    return starts;
  }

 public:
  /// The offset of argument `i`; offsets[sizeof...(A)] is the size of the fixed part.
  static constexpr std::array<std::size_t, sizeof...(A) + 1> offsets = layout();
  static constexpr std::size_t result_offset = 0;
  static constexpr std::size_t size = offsets[sizeof...(A)];
};

/// The frame of a call: the result at offset 0, then the arguments in order, each aligned as its
/// type asks, then (written by the host only) the elements that spans refer to.
template <class Sig>
struct frame : check_signature<Sig>, frame_layout<Sig> {};

/// The frame of a hypercall, laid out alike. What comes from the guest are its arguments.
template <class Sig>
struct hypercall_frame : check_hypercall<Sig>, frame_layout<Sig> {};

/// Frames begin at multiples of this; no type in one may ask for more.
inline constexpr std::size_t frame_alignment = 64;

}  // namespace virtine::detail
