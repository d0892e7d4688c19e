// error: virtine \[V117\]: there is no image of this file
// A marked function has nothing to run in if the header of the file's image is not there.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

// What virtine-cc would write.
namespace guests {
struct app : virtine::detail::stand_in_image {
  using image = app;
  struct square : virtine::detail::stand_in_entry<int(int), app> {};
};
}  // namespace guests
#ifdef VALID
template <>
struct virtine::detail::source_image<virtine::detail::this_unit,
                                     virtine::detail::source_key(__FILE__)> {
  using image = guests::app;
  using functions = guests::app;
  static constexpr std::string_view file{__FILE__};
};
#endif

VIRTINE(square, (int n)->int) {
  return n < 2 ? n : square(n - 1);
}

// That the function is used as well adds no message.
int number() {
  virtine::virtine_fn own{square};
  return square(3) + square.try_call(4).value() + own(5);
}
