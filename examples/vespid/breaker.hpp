// Stops a function that only fails, for a while: a crash loop costs a machine for each call.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>

namespace vespid {

/// Of one function in one revision. Of one thread at a time.
class breaker {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr std::uint32_t faults_allowed = 20;  ///< In a row.
  static constexpr std::chrono::seconds pause{10};

  /// Returns whether a call may run now. After the pause one may, as a trial.
  bool may_run(clock::time_point now) {
    if (faults_ < faults_allowed) return true;
    if (now < until_) return false;
    until_ = now + pause;
    return true;
  }
  void succeeded() { faults_ = 0; }
  /// Returns true if this stops the function.
  bool failed(clock::time_point now) {
    if (++faults_ < faults_allowed) return false;
    until_ = now + pause;
    return faults_ == faults_allowed;
  }
  [[nodiscard]] bool is_stopped() const { return faults_ >= faults_allowed; }

 private:
  std::uint32_t faults_ = 0;
  clock::time_point until_{};
};

}  // namespace vespid
