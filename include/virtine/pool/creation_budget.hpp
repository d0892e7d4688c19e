// How fast a pool may make machines. Knows nothing of machines.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace virtine::detail {

/// Allows a number of machines at once, and more of them at a rate: each that was made counts less
/// and less as time goes by.
class creation_budget {
 public:
  using clock = std::chrono::steady_clock;

  /// Returns when a machine may be made, if it is not now: `at_once` in a burst, `per_second` in a
  /// second after it. With `per_second` 0 there is no limit.
  [[nodiscard]] clock::time_point next(std::size_t at_once, std::size_t per_second) const {
    if (per_second == 0) return {};
    const auto others = static_cast<clock::rep>(std::min(at_once, burst_max)) - 1;
    return paid_until_ - std::max<clock::rep>(others, 0) * each(per_second);
  }

  /// Counts one that is made at `now`.
  void spend(clock::time_point now, std::size_t per_second) {
    if (per_second != 0) paid_until_ = std::max(paid_until_, now) + each(per_second);
  }

 private:
  static constexpr std::size_t burst_max = 1'000'000;  // 32 years' worth at most.

  static clock::duration each(std::size_t per_second) {
    return std::max<clock::duration>(
        std::chrono::nanoseconds(1),
        std::chrono::nanoseconds(std::chrono::seconds(1)) /
            static_cast<clock::rep>(std::min<std::size_t>(per_second, 1'000'000'000)));
  }

  clock::time_point paid_until_{};  // When all that were made are paid for.
};

}  // namespace virtine::detail
