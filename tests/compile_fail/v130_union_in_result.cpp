// error: virtine \[V130\]: the guest can give the host a type that the library cannot see into
// Nobody knows which byte of it is a bool, so only its user can say which values are none.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <span>

#include <virtine/abi/frame.hpp>

struct number {
  union {
    long integer = 0;
    double real;
  };
  bool is_real = false;
};

template <>
inline constexpr bool virtine::holds_no_pointer<number> = true;

#ifdef VALID
template <>
struct virtine::valid_reply<number> {
  static constexpr bool check(std::span<const std::byte, sizeof(number)> from) {
    return from[offsetof(number, is_real)] <= std::byte{1};
  }
};
#endif

virtine::detail::frame<number(number)> frame;
