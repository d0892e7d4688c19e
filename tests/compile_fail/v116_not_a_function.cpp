// error: virtine \[V116\]: the first argument of virtine_fn is not the type of a function
// A result alone does not say what the arguments are.
// SPDX-License-Identifier: MIT
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
virtine::virtine_fn<int(int) noexcept, guests::square> square;
#else
virtine::virtine_fn<int, guests::square> square;
#endif
