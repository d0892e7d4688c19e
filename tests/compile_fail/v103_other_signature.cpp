// error: virtine \[V103\]: the signature differs from the one this guest function was compiled with
// The guest's square is int(int).
// SPDX-License-Identifier: MIT
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
virtine::virtine_fn<int(int), guests::square> square;
#else
virtine::virtine_fn<long(int), guests::square> square;
#endif

// That the function is used as well adds no message.
int nine() {
  return static_cast<int>(square(3));
}
