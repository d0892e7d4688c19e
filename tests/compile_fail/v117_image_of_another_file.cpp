// error: virtine \[V117\]: there is no image of this file
// An image of a file of the same name in another folder must not run, nor the function's body by
// itself.
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
#ifdef VALID
  static constexpr std::string_view file = "../compile_fail/v117_image_of_another_file.cpp";
#else
  static constexpr std::string_view file = "../other/v117_image_of_another_file.cpp";
#endif
};

VIRTINE(square, (int n)->int) {
  return n * n;
}

int number(virtine::pool<guests::app>& machines) {
  virtine::virtine_fn shared{square, machines};
  return square(3) + shared(5);
}
