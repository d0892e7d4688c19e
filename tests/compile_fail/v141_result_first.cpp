// error: virtine_V141_write_VIRTINE_name_comma_parameters
// The parameters come first.
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

// clang-format off
#ifdef VALID
VIRTINE(square, (int n) -> int) {
#else
VIRTINE(square, int(int n)) {
#endif
  return n * n;
}
