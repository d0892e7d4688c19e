// How much a machine was used. Knows nothing of what its pool makes of that.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <utility>

namespace virtine::detail {

/// Counts a machine's calls.
class machine_use {
 public:
  void count_call() { ++calls_; }

  /// Returns how many calls it ever began.
  [[nodiscard]] std::uint64_t calls() const { return calls_; }

  /// Returns whether it has begun no call since this was asked last; false the first time.
  [[nodiscard]] bool has_rested() { return std::exchange(seen_, calls_) == calls_; }

 private:
  std::uint64_t calls_ = 0;
  std::uint64_t seen_ = UINT64_MAX;
};

}  // namespace virtine::detail
