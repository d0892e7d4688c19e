// The pages that machines of an image write in their first calls, so that the next machine has them
// writable from the start. A guess that costs or spares time, and that nothing relies on.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// What is known of an image's machines. Thread-safe. Nobody waits in it: who finds another thread
/// there learns or tells nothing, as does a child of fork whose parent had a thread there.
class learned_writes {
 public:
  /// More are not learned: a machine restores what it is given after each call.
  static constexpr std::size_t max_pages = 1024;

  /// Takes in what one machine wrote in its first call: the addresses of the pages, in any order.
  /// Those that it was given without need are on their way to be forgotten.
  void add(std::vector<std::uint64_t> written) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return;
    std::sort(written.begin(), written.end());
    for (known& each : known_) {
      const bool again = std::binary_search(written.begin(), written.end(), each.page);
      each.score = again ? std::min(each.score + 2, most) : each.score - 1;
    }
    std::erase_if(known_, [](const known& each) { return each.score <= 0; });
    // In order, so that what is known is.
    const std::size_t before = known_.size();
    for (const std::uint64_t page : written) {
      if (known_.size() == max_pages) break;
      const auto end = known_.begin() + static_cast<std::ptrdiff_t>(before);
      const auto at = std::lower_bound(known_.begin(), end, page,
                                       [](const known& a, std::uint64_t b) { return a.page < b; });
      if (at == end || at->page != page) known_.push_back({page, taught});
    }
    std::sort(known_.begin(), known_.end(),
              [](const known& a, const known& b) { return a.page < b.page; });
  }

  /// Returns the pages that a new machine is to have, ascending.
  [[nodiscard]] std::vector<std::uint64_t> pages() const {
    std::vector<std::uint64_t> out;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return out;
    out.reserve(known_.size());
    for (const known& each : known_) {
      if (each.score >= taught) out.push_back(each.page);
    }
    return out;
  }

  /// Forgets all, because machines had more pages than their pool keeps.
  void clear() {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock) known_.clear();
  }

 private:
  static constexpr int taught =
      2;  // One machine suffices; one that did not write it takes it away.
  static constexpr int most = 8;

  struct known {
    std::uint64_t page = 0;
    int score = 0;
  };

  mutable std::mutex mutex_;
  std::vector<known> known_;  // Ascending.
};

}  // namespace virtine::detail
