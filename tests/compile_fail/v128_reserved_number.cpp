// error: virtine \[V128\]: a hypercall has a number that is reserved for the library
// A later version may answer it, whatever the policy says.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

#ifdef VALID
struct finish : virtine::hypercall<0xfffeffff, void()> {};
#else
struct finish : virtine::hypercall<0xffff0003, void()> {};
#endif

virtine::policy policy{virtine::allow<finish>([] {})};
