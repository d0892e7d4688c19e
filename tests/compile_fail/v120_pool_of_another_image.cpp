// error: no matching (function for call to|constructor for initialization of) .*virtine_fn<
// A machine of one image cannot run a function of another.
// SPDX-License-Identifier: MIT
#include <guests/nasm_add.hpp>
#include <guests/square.hpp>
#include <virtine/virtine.hpp>

void call(virtine::pool<guests::square>& squares, virtine::pool<guests::nasm_add>& sums) {
#ifdef VALID
  virtine::virtine_fn<int(int), guests::square> square{squares};
  static_cast<void>(sums);
#else
  virtine::virtine_fn<int(int), guests::square> square{sums};
  static_cast<void>(squares);
#endif
}
