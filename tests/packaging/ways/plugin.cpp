// A shared object that uses the library, as the program that loads it does.
// SPDX-License-Identifier: MIT
#include <thread>

#include <guests/triple.hpp>
#include <virtine/virtine.hpp>

#include "judge.hpp"
#include "parts.hpp"
#include "plugin.guest.hpp"

// The program has another function of this name.
VIRTINE(square, (int n) -> int) {
  return n * n + 1;
}

extern "C" [[gnu::visibility("default")]] outcome call_virtines(int expected) {
  outcome all = wrong;
  // The variables of a thread, some of which are the shared object's, live as long as the thread.
  std::thread([&] {
    virtine::virtine_fn<int(int), guests::triple> triple;
    all = both(judge("the plugin's triple", triple.try_call(14), expected),
               judge("the plugin's square", square.try_call(12), 145));
  }).join();
  return all;
}
