// error: virtine \[V106\]: the guest can give an enum to the host
// A guest can return any number; the host has to say which are members of the enum.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

enum class colour { red, green };

#ifdef VALID
template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green;
  }
};
#endif

virtine::detail::frame<colour(int)> frame;
