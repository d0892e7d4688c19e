// Draws random numbers: from its own generator, which is seeded before the snapshot, and from the
// host.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/guest.hpp>

namespace {

std::uint64_t state = 0;

void seed() {
  state = __builtin_ia32_rdtsc() | 1;
}

std::uint64_t draw_own() {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

void draw(std::span<std::byte> out) {
  virtine::guest::call<virtine::entropy>(out);
}

// Asks for bytes where none can be put.
void draw_into_constants() {
  static constexpr std::byte constant[8] = {};
  virtine::guest::call<virtine::entropy>(
      std::span(const_cast<std::byte*>(static_cast<const std::byte*>(constant)), 8));
}

}  // namespace

VIRTINE_INIT(seed);
VIRTINE_EXPORT(draw_own);
VIRTINE_EXPORT(draw);
VIRTINE_EXPORT(draw_into_constants);
