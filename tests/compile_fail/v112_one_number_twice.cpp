// error: virtine \[V112\]: two hypercalls of a policy have one number
// Only one of the two could ever be served.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

struct start : virtine::hypercall<1, void()> {};
#ifdef VALID
struct finish : virtine::hypercall<2, void()> {};
#else
struct finish : virtine::hypercall<1, void()> {};
#endif

virtine::policy policy{virtine::allow<start>([] {}), virtine::allow<finish>([] {})};
