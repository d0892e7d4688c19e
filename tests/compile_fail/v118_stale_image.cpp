// error: virtine \[V118\]: the image of this file was made before the file was changed
// An image of an older state of the file must not run, nor the function's body by itself.
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
struct virtine::detail::source_image<virtine::detail::source_key(__FILE__)> {
  using image = guests::app;
  using functions = guests::app;
#ifdef VALID
  static constexpr std::uint64_t changed = text_key(__TIMESTAMP__);
#else
  static constexpr std::uint64_t changed = text_key("Thu Jan  1 00:00:00 1970");
#endif
};

VIRTINE(square, (int n)->int) {
  return n * n;
}

int number(virtine::pool<guests::app>& machines) {
  virtine::virtine_fn shared{square, machines};
  return square(3) + shared(5);
}
