// error: virtine \[V138\]: the function of a bare image cannot be lent memory
// SPDX-License-Identifier: MIT
#include <guests/fib32.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
virtine::virtine_fn<int(int), guests::fib32> fib;
#else
virtine::virtine_fn<int(virtine::lent<const int>), guests::fib32> fib;
#endif
