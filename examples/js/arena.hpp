// An allocator out of one piece of memory, whose end is the memory limit of a script: each size has
// a list of free blocks, and new blocks are cut off in order, so that what is used lies together
// and few pages have to be restored after a call. Knows nothing of engines.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>

namespace js {

/// The sizes of blocks, each with the 8 bytes before it: 16, 32, 48, 64 bytes, then four sizes from
/// each power of two to the next.
namespace block_sizes {

inline constexpr std::size_t header = 8;
inline constexpr std::size_t count = 160;
inline constexpr std::size_t largest = std::size_t{1} << 40;

/// Returns the first size that holds `size` bytes, at most `largest`.
constexpr std::size_t index_for(std::size_t size) {
  const std::size_t last = (size + header - 1) / 16;
  if (last < 4) return last;
  const auto doublings = static_cast<std::size_t>(std::bit_width(last)) - 3;
  return 4 * doublings + (last >> doublings);
}

/// Returns how many bytes a block of size `index` holds.
constexpr std::size_t room(std::size_t index) {
  if (index < 4) return 16 * (index + 1) - header;
  const std::size_t doublings = index / 4 - 1;
  return (16 * (index % 4 + 5) << doublings) - header;
}

static_assert(room(index_for(1)) == 8 && room(index_for(8)) == 8 && room(index_for(9)) == 24);
static_assert(room(index_for(56)) == 56 && room(index_for(57)) == 72 && room(index_for(73)) == 88);
static_assert(room(index_for(1000)) == 1016 && room(index_for(1017)) == 1272);
static_assert(index_for(largest) < count);

}  // namespace block_sizes

class arena {
 public:
  /// `memory` must be aligned to 16 bytes and outlive this.
  constexpr explicit arena(std::span<std::byte> memory)
      : next_(memory.data()), end_(memory.data() + memory.size()) {}

  /// Returns room for `size` bytes, or null if there is none.
  void* allocate(std::size_t size) {
    if (size == 0 || size > block_sizes::largest) return nullptr;
    const std::size_t index = block_sizes::index_for(size);
    if (unused* reused = unused_[index]) {
      unused_[index] = reused->next;
      return reused;
    }
    const std::size_t whole = block_sizes::header + block_sizes::room(index);
    if (static_cast<std::size_t>(end_ - next_) < whole) return nullptr;
    std::byte* given = next_ + block_sizes::header;
    next_ += whole;
    index_of(given) = index;
    return given;
  }

  /// Takes back what allocate() or resize() gave; null is allowed.
  void free(void* given) {
    if (given == nullptr) return;
    unused*& first = unused_[index_of(given)];
    first = ::new (given) unused{first};
  }

  /// Returns room for `size` bytes that begin as those of `given`, which is free then; or null, and
  /// `given` stays as it is.
  void* resize(void* given, std::size_t size) {
    if (given == nullptr) return allocate(size);
    if (size == 0) {
      free(given);
      return nullptr;
    }
    const std::size_t had = block_sizes::room(index_of(given));
    if (size <= had && size > had / 2) return given;
    void* made = allocate(size);
    if (made == nullptr) return size <= had ? given : nullptr;
    std::memcpy(made, given, size < had ? size : had);
    free(given);
    return made;
  }

 private:
  struct unused {
    unused* next;
  };

  static std::size_t& index_of(void* given) {
    return *reinterpret_cast<std::size_t*>(static_cast<std::byte*>(given) - block_sizes::header);
  }

  std::byte* next_;
  std::byte* end_;
  std::array<unused*, block_sizes::count> unused_{};
};

}  // namespace js
