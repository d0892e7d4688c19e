// Has a table that is made before the snapshot: which numbers are prime. 256 KiB, of which every
// page is written.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>

#include <virtine/guest.hpp>

namespace {

constexpr std::size_t limit = 256 * 1024;
bool composite[limit];

void sieve() {
  composite[0] = composite[1] = true;
  for (std::size_t n = 2; n * n < limit; ++n) {
    if (composite[n]) continue;
    for (std::size_t multiple = n * n; multiple < limit; multiple += n) composite[multiple] = true;
  }
}

bool is_prime(std::uint32_t n) {
  return n < limit && !composite[n];
}

}  // namespace

VIRTINE_INIT(sieve);
VIRTINE_EXPORT(is_prime);
