// The pages of a machine that a guest may have written. Knows nothing of how they are restored.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <virtine/machine/layout.hpp>
#include <virtine/x86/page_table.hpp>

namespace virtine::detail {

/// A page that a guest may have written.
struct written_page {
  std::uint64_t address = 0;
  bool was_zero = false;  ///< Whether the snapshot has nothing but zeros there.
};

/// A list of such pages with room for all that the guest of `where` can write, because its first
/// write to a page must not make the host allocate. The room is memory only as far as it is used.
class write_set {
 public:
  explicit write_set(const layout& where) {
    pages_.reserve((where.user_end - where.shared_end) / x86::page_size);
  }

  /// Adds a page that is not in it, of which the snapshot has `pristine`.
  void add(std::uint64_t address, const std::byte* pristine) {
    // All zeros if the first is and each equals the one before it.
    const bool zeros =
        pristine[0] == std::byte{0} && std::memcmp(pristine, pristine + 1, x86::page_size - 1) == 0;
    pages_.push_back({.address = address, .was_zero = zeros});
  }

  [[nodiscard]] std::span<const written_page> pages() const { return pages_; }

 private:
  std::vector<written_page> pages_;
};

}  // namespace virtine::detail
