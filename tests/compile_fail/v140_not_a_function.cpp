// error: virtine \[V140\]: VIRTINE_AS takes the address of one function
// A member that needs an object is no function to run in a virtual machine.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

// What virtine-cc would write.
namespace guests {
struct app : virtine::detail::stand_in_image {
  using image = app;
  struct tripled : virtine::detail::stand_in_entry<void(), app> {};
};
}  // namespace guests
template <>
struct virtine::detail::source_image<virtine::detail::this_unit,
                                     virtine::detail::source_key(__FILE__)> {
  using image = guests::app;
  using functions = guests::app;
  static constexpr std::string_view file{__FILE__};
};

struct number {
  void triple() { value *= 3; }
  static void nothing() {}
  int value;
};

#ifdef VALID
VIRTINE_AS(tripled, &number::nothing);
#else
VIRTINE_AS(tripled, &number::triple);
#endif
