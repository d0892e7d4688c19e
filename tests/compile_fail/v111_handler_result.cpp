// error: virtine \[V111\]: a handler cannot .* or what it returns is not
// A handler owes the guest the result that the hypercall promises.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

struct draw : virtine::hypercall<1, int()> {};

#ifdef VALID
auto allowed = virtine::allow<draw>([]() -> virtine::answer<int> { return virtine::reject{}; });
#else
auto allowed = virtine::allow<draw>([] {});
#endif
