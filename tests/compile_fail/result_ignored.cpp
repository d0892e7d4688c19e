// error: ignoring return.* value .*nodiscard
// A failure that nobody looks at is a failure that nobody sees.
// SPDX-License-Identifier: MIT
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

void call(virtine::virtine_fn<int(int), guests::square>& square) {
#ifdef VALID
  if (auto done = square.try_call(3); !done) throw virtine::failure(done.error());
#else
  square.try_call(3);
#endif
}
