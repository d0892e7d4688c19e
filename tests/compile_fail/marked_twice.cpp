// error: redefinition of .*square|conflicting declaration .*square
// A name is marked once; overloads need a name each. virtine-cc, which comes first, says more.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

// What virtine-cc would write.
namespace guests {
struct app : virtine::detail::stand_in_image {
  using image = app;
  struct square : virtine::detail::stand_in_entry<int(int), app> {};
};
}  // namespace guests
template <>
struct virtine::detail::source_image<virtine::detail::this_unit,
                                     virtine::detail::source_key(__FILE__)> {
  using image = guests::app;
  using functions = guests::app;
  static constexpr std::string_view file{__FILE__};
};

VIRTINE(square, (int n)->int) {
  return n * n;
}
#ifndef VALID
VIRTINE(square, (int n)->int) {
  return n * n;
}
#endif
