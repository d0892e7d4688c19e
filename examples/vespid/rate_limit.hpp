// Says whether a tenant may make another request now: a bucket of tokens that fills steadily.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>

namespace vespid {

class rate_limit {
 public:
  using clock = std::chrono::steady_clock;

  /// Returns whether a request may pass, of `rate` in a second and twice as many at once.
  bool may_pass(double rate, clock::time_point now) {
    const double most = std::max(1.0, 2 * rate);
    if (!is_begun_) {
      tokens_ = most;
      is_begun_ = true;
    } else {
      tokens_ = std::min(most, tokens_ + rate * std::chrono::duration<double>(now - last_).count());
    }
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  bool is_begun_ = false;
  double tokens_ = 0;
  clock::time_point last_{};
};

}  // namespace vespid
