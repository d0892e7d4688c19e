// Functions that take much: room for a result, memory that they write or only read.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/guest.hpp>

namespace {

constexpr std::size_t page = 4096;
char memory[std::size_t{200} << 20];

// A result of all the room that there is.
std::size_t big(std::span<const std::byte>, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{'x'});
  return out.size();
}

std::size_t pages_of(int mib) {
  return std::min(sizeof memory, static_cast<std::size_t>(mib) << 20) / page;
}

// Writes to each page, and may leave it as it was.
std::uint64_t fill(int mib, int left) {
  volatile char* const first = memory;
  for (std::size_t i = 0; i < pages_of(mib); ++i) first[i * page] = 1;
  for (std::size_t i = 0; i < pages_of(mib); ++i) first[i * page] = static_cast<char>(left);
  return pages_of(mib);
}

// Reads from each page.
std::uint64_t look(int mib) {
  const volatile char* const first = memory;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < pages_of(mib); ++i)
    sum += static_cast<unsigned char>(first[i * page]);
  return sum;
}

}  // namespace

VIRTINE_EXPORT(big);
VIRTINE_EXPORT(fill);
VIRTINE_EXPORT(look);
