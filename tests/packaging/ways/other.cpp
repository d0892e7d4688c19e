// Calls the guest as main.cpp does, and a function that is marked here.
// SPDX-License-Identifier: MIT
#include <guests/triple.hpp>
#include <virtine/virtine.hpp>

#include "judge.hpp"
#include "other.guest.hpp"
#include "parts.hpp"

VIRTINE(square, (int n) -> int) {
  return n * n;
}

outcome call_others(int expected) {
  virtine::virtine_fn<int(int), guests::triple> triple;
  return both(judge("triple", triple.try_call(14), expected),
              judge("square", square.try_call(12), 144));
}
