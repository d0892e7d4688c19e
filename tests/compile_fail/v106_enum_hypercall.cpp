// error: virtine \[V106\]: the guest can give an enum to the host
// The argument of a hypercall comes from the guest.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

enum class colour { red, green };

#ifdef VALID
template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green;
  }
};
#endif

struct paint : virtine::hypercall<1, void(colour)> {};

void serve(virtine::detail::guest_access& guest) {
  virtine::policy policy{virtine::allow<paint>([](virtine::tainted<colour>) {})};
  static_cast<void>(policy.serve(1, guest, {}));
}
