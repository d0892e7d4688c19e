// error: virtine \[V133\]: the guest can give the host a struct with an enum in it
// An enum is no better checked for being a member.
// SPDX-License-Identifier: MIT
#include <virtine/abi/frame.hpp>

enum class colour { red };
struct pixel {
  float alpha;
  colour shade;
};

#ifdef VALID
template <>
struct virtine::valid_reply<pixel> {
  static constexpr bool check(pixel value) { return value.shade == colour::red; }
};
#endif

virtine::detail::frame<pixel(int)> frame;
