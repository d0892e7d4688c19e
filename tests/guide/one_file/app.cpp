// The guide's program whose functions run in virtual machines.
// SPDX-License-Identifier: MIT
// clang-format off
#include <iostream>
#include <virtine/posix.hpp>     // for posix::minimal()
#include <virtine/virtine.hpp>
#include "app.guest.hpp"  // virtine-cc makes it of this file, app.cpp

static int twice(int x) { return 2 * x; }

VIRTINE(square, (int x) -> int) {
  return twice(x) * x / 2;
}

VIRTINE_AS(isolated_twice, &twice);  // for a function that is there; twice(4) itself stays native

int main() {
  std::cout << square(3) << '\n';                 // runs in a VM; throws virtine::failure
  if (auto r = square.try_call(4)) std::cout << *r << '\n';  // also with(), async(), each(), together()
  std::cout << isolated_twice(4) << '\n';
  auto policy = virtine::posix::minimal();        // what it may ask for: see below
  virtine::virtine_fn own{square, policy};        // with a policy, or {square, pool, policy}
}

// Output:
// 9
// 16
// 8
