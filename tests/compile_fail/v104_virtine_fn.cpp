// error: virtine \[V104\]: the result, or a part of it, is a pointer, a reference, a span or a type
// The same mistake in a virtine_fn gives the same one message, whatever else it breaks.
// SPDX-License-Identifier: MIT
#include <string>

#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
using signature = int(int);
#else
using signature = std::string(int);
#endif

virtine::virtine_fn<signature, guests::square> square;

// That the function is used as well adds no message.
auto nine() {
  return square(3);
}
