// error: virtine \[V113\]: a hypercall passes a span of bool, of an enum or of a type
// A handler sees elements in place, so each byte would have to be a valid bool already.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#ifdef VALID
using flags = std::span<const std::byte>;
#else
using flags = std::span<const bool>;
#endif

struct publish : virtine::hypercall<1, void(flags)> {};

void serve(virtine::detail::guest_access& guest) {
  virtine::policy policy{virtine::allow<publish>([](virtine::tainted<flags>) {})};
  static_cast<void>(policy.serve(1, guest, {}));
}
