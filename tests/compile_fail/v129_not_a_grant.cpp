// error: virtine \[V129\]: a part of a policy is neither a grant nor a policy
// Which hypercall the function is for cannot be seen.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

struct finish : virtine::hypercall<1, void(int)> {};

constexpr auto handler = [](virtine::tainted<int>) {};

#ifdef VALID
virtine::policy policy{virtine::allow<finish>(handler)};
#else
virtine::policy policy{handler};
#endif
