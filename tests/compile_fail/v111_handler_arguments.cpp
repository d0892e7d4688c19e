// error: virtine \[V111\]: a handler cannot be called with the hypercall's arguments
// A handler that takes a plain value would use what it never looked at.
// SPDX-License-Identifier: MIT
#include <virtine/virtine.hpp>

struct add : virtine::hypercall<1, int(int, int)> {};

#ifdef VALID
auto allowed = virtine::allow<add>([](virtine::tainted<int>, virtine::tainted<int>) { return 0; });
#else
auto allowed = virtine::allow<add>([](int a, int b) { return a + b; });
#endif
