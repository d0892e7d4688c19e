// A guest with work to do before its first call: the table that all calls look into.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>

#include <virtine/guest.hpp>

static std::array<bool, 65536> composite;

static void prepare() {
  composite[0] = composite[1] = true;
  for (std::size_t n = 2; n * n < composite.size(); ++n) {
    if (composite[n]) continue;
    for (std::size_t m = n * n; m < composite.size(); m += n) composite[m] = true;
  }
}

VIRTINE_INIT(prepare);

namespace {

std::uint32_t lookups = 0;

bool is_prime(std::uint16_t n) {
  ++lookups;
  return !composite[n];
}

// A key of this call's own. From the table's memory it could only take what all calls find there.
std::uint64_t make_key() {
  std::array<std::byte, 8> bytes{};
  virtine::guest::call<virtine::entropy>(bytes);
  std::uint64_t key = 0;
  for (std::byte b : bytes) key = key << 8 | std::to_integer<std::uint64_t>(b);
  return key;
}

std::uint32_t lookups_so_far() {
  return lookups;
}

}  // namespace

VIRTINE_EXPORT(is_prime);
VIRTINE_EXPORT(make_key);
VIRTINE_EXPORT(lookups_so_far);
