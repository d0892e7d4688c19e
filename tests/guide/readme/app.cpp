// The first program of README.md.
// SPDX-License-Identifier: MIT
// clang-format off
#include <iostream>
#include <virtine/virtine.hpp>
#include "app.guest.hpp"  // virtine-cc makes it of this file, app.cpp

VIRTINE(square, (int n) -> int) {
  return n * n;
}

int main() {
  std::cout << square(3) << '\n';                     // runs in a VM; throws virtine::failure
  if (auto r = square.try_call(4); !r) std::cerr << to_string(r.error()) << '\n';  // or returns what went wrong
}

// Output:
// 9
