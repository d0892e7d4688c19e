// Runs for as long as its host likes, or longer.
// SPDX-License-Identifier: MIT
#include "spins_types.hpp"

#include <cstdint>

#include <virtine/guest.hpp>

namespace {

void turn(std::uint64_t times) {
  for (; times != 0; --times) asm volatile("" : "+r"(times));
}

// Says once that it runs; then never ends.
void run_away() {
  virtine::guest::call<running>();
  for (;;) asm volatile("");
}

// Turns `times` times, then returns 3 * n.
int work(int n, std::uint64_t times) {
  turn(times);
  return 3 * n;
}

// Asks after every `times` turns whether to go on; returns how often it did.
std::uint64_t until_told(std::uint64_t times) {
  std::uint64_t rounds = 0;
  do {
    turn(times);
    ++rounds;
  } while (virtine::guest::call<running>());
  return rounds;
}

}  // namespace

VIRTINE_EXPORT(run_away);
VIRTINE_EXPORT(work);
VIRTINE_EXPORT(until_told);
