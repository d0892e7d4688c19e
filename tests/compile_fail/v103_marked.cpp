// error: virtine \[V103\]: the signature differs
// The image's function of this name has another signature.
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

#ifdef VALID
VIRTINE(square, (int n)->int) {
#else
VIRTINE(square, (long n)->long) {
#endif
  return n * n;
}
