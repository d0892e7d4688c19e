// error: virtine \[V106\]: the guest can give an enum to the host
// Elements are looked at one by one.
// SPDX-License-Identifier: MIT
#include <array>

#include <virtine/abi/frame.hpp>

enum class colour { red, green };

#ifdef VALID
template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) { return value == colour::red; }
};
#endif

virtine::detail::frame<std::array<colour, 3>()> frame;
