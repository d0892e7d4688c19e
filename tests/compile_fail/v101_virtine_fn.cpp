// error: virtine \[V101\]: an argument is a pointer
// The same mistake in a virtine_fn gives the same one message, whatever else it breaks.
// SPDX-License-Identifier: MIT
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

#ifdef VALID
using signature = int(int);
#else
using signature = int(int*);
#endif

virtine::virtine_fn<signature, guests::square> square;

// That the function is used as well adds no message.
int call() {
  return square({});
}
