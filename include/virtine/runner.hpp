// A vCPU that can be stopped: KVM_RUN under a deadline, with the watchdog looking on.
// Knows nothing of what an exit means.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include <virtine/deadline.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/result.hpp>

namespace virtine {

/// What ends a call that does not end by itself.
struct run_limits {
  run_gate::time_point until = run_gate::time_point::max();
  std::stop_token stop = {};
};

/// Owns a vCPU and runs calls on it. A call is begin(), any number of run()s, end(); all on one
/// thread. Not movable, since the watchdog knows its address.
class runner {
 public:
  runner(kvm::vcpu vcpu, std::shared_ptr<watchdog> guard)
      : vcpu_(std::move(vcpu)), gate_(vcpu_), watchdog_(std::move(guard)) {
    watchdog_->add(gate_);
  }
  ~runner() {
    if (watchdog_->forked()) leave_behind();
    if (running_) static_cast<void>(end());
    watchdog_->remove(gate_);
  }
  runner(const runner&) = delete;
  runner& operator=(const runner&) = delete;

  [[nodiscard]] kvm::vcpu& vcpu() { return vcpu_; }
  [[nodiscard]] const kvm::vcpu& vcpu() const { return vcpu_; }

  /// Returns the watchdog, which ends with its last holder.
  [[nodiscard]] const std::shared_ptr<watchdog>& guard() const { return watchdog_; }

  [[nodiscard]] bool running() const { return running_; }

  /// Starts a call that is to be interrupted when `limits` say.
  void begin(const run_limits& limits) {
    running_ = true;
    gate_.arm(limits.until);
    watchdog_->expect(limits.until);
    // After arming: a stop that was requested before runs the callback right here.
    if (limits.stop.stop_possible()) on_stop_.emplace(limits.stop, interrupter{gate_});
  }

  /// Moves the deadline of the call that runs, if one does and was not interrupted. Any thread may
  /// do this.
  void move_deadline(run_gate::time_point until) {
    if (gate_.move(until)) watchdog_->expect(until);
  }

  /// Interrupts the call that runs, if one does. Any thread may do this.
  void interrupt(errc why) { gate_.interrupt(why); }

  /// Sleeps for `time`, or until the call is interrupted. Returns whether it may go on.
  bool pause(std::chrono::nanoseconds time) const {
    // In pieces, because a signal that comes just before a sleep would not end it.
    constexpr std::chrono::nanoseconds piece = std::chrono::milliseconds(10);
    for (const auto until = deadline_after(time); !gate_.interrupted();) {
      const auto left = until - detail::monotonic::now();
      if (left <= left.zero()) return true;
      std::this_thread::sleep_for(std::min(piece, left));
    }
    return false;
  }

  /// Runs the guest until its next exit. Signals of the caller's own do not end it. Fails with
  /// EINTR only once the call was interrupted; end() then says why.
  result<void> run() {
    for (;;) {
      // Before each entry, because an interruption between two of them must stop the second.
      if (gate_.interrupted()) [[unlikely]]
        return error{.code = errc::timed_out, .os_error = EINTR};
      auto ran = vcpu_.run();
      if (ran) [[likely]]
        return ran;
      if (watchdog_->forked()) leave_behind();
      if (ran.why().os_error != EINTR) return ran;
    }
  }

  /// Ends the call. Fails if it was interrupted, even if the guest came to its end in the same
  /// moment: who interrupted it was told that it would not complete.
  result<void> end() {
    running_ = false;
    on_stop_.reset();
    if (auto why = gate_.disarm()) [[unlikely]]
      return error{.code = *why};
    return {};
  }

 private:
  /// Forgets, in a child of fork, what another thread of the parent's may be busy with.
  void leave_behind() {
    new (&on_stop_) std::optional<std::stop_callback<interrupter>>;
    gate_.leave_behind();
  }

  struct interrupter {
    run_gate& gate;
    void operator()() const { gate.interrupt(errc::cancelled); }
  };

  kvm::vcpu vcpu_;
  run_gate gate_;
  std::shared_ptr<watchdog> watchdog_;
  std::optional<std::stop_callback<interrupter>> on_stop_;
  bool running_ = false;
};

}  // namespace virtine
