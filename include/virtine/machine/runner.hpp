// A vCPU that can be stopped: KVM_RUN under a deadline, with the watchdog looking on.
// Knows nothing of what an exit means.
// SPDX-License-Identifier: MIT
#pragma once

#include <linux/kvm.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include <virtine/call_usage.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/os/cpu_clock.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// What ends a call that does not end by itself.
struct run_limits {
  interrupter::time_point until = interrupter::time_point::max();
  std::stop_token stop = {};
  bool (*stop_if)() = nullptr;  ///< See call_options, as for the next two.
  std::chrono::nanoseconds cpu_time = std::chrono::nanoseconds::max();
  call_usage* usage = nullptr;
};

/// Returns why a call is over, if it is.
inline result<void> check(const run_limits& limits) {
  if (limits.stop.stop_requested() || (limits.stop_if != nullptr && limits.stop_if()))
    return error{.code = errc::cancelled};
  if (monotonic::now() >= limits.until) return error{.code = errc::timed_out};
  return {};
}

/// Returns until when a call may wait that hears its stop_token before it is to check() again.
inline interrupter::time_point next_check(const run_limits& limits) {
  if (limits.stop_if == nullptr) return limits.until;
  return std::min(limits.until, monotonic::now() + std::chrono::milliseconds(10));
}

/// The vCPU of this thread's innermost call that has a stop_if. Of the initial-exec model, because
/// only such a variable can be looked at in a signal handler of a thread that never used it.
[[gnu::tls_model("initial-exec")]] inline constinit thread_local std::atomic<kvm_run*> asking_vcpu{
    nullptr};

/// Owns a vCPU and runs calls on it. A call is begin(), any number of run()s, end(); all on one
/// thread. Not movable, since the watchdog knows its address.
class runner {
 public:
  /// Stops guests by taking `foothold` away, which must stay mapped as long as this exists.
  runner(kvm::vcpu vcpu, std::shared_ptr<watchdog> guard, const detail::foothold& foothold)
      : vcpu_(std::move(vcpu)), gate_(foothold), watchdog_(std::move(guard)) {
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

  /// Returns whether anybody wants to know what the call that runs uses.
  [[nodiscard]] bool counts() const { return usage_ != nullptr; }
  /// Adds to what it has used, if so.
  void count(std::uint64_t call_usage::*what, std::uint64_t more) const {
    add_to(usage_, what, more);
  }

  /// Has guests stopped by taking away `other` from now on; while no call runs.
  void stand_on(const detail::foothold& other) { gate_.stand_on(other); }

  /// Starts a call that is to be interrupted when `limits` say. From here to the end of the call
  /// the caller touches none of the foothold, but between step_out() and run().
  void begin(const run_limits& limits) {
    running_ = true;
    outside_ = false;
    usage_ = limits.usage;
    count(&call_usage::calls, 1);
    const auto watched = limits.cpu_time < std::chrono::nanoseconds::max()
                             ? gate_.limit_cpu(limits.cpu_time, limits.until)
                             : limits.until;
    gate_.arm(watched);
    watchdog_->expect(watched);
    // After arming: a stop that was requested before runs the callback right here.
    if (limits.stop.stop_possible()) on_stop_.emplace(limits.stop, stop_request{*this});
    stop_if_ = limits.stop_if;
    if (stop_if_ != nullptr) [[unlikely]] {
      outer_ = asking_vcpu.exchange(&vcpu_.state(), std::memory_order_relaxed);
    }
  }

  /// Gives the caller the use of all memory until the next run(). Returns whether the call may go
  /// on then; if not, it was interrupted.
  bool step_out() {
    outside_ = true;
    return gate_.step_out();
  }

  /// Moves the deadline of the call that runs. Returns false if none does, or it was interrupted.
  /// Any thread may do this.
  bool move_deadline(interrupter::time_point until) {
    if (!gate_.move(until)) return false;
    watchdog_->expect(until);
    return true;
  }

  /// Interrupts the call that runs, if one does. Any thread may do this.
  void interrupt(errc why) {
    if (!gate_.interrupt(why)) watchdog_->expect({});
  }

  /// Sleeps for `time`, or until the call is interrupted. Returns whether it may go on.
  bool pause(std::chrono::nanoseconds time) {
    // In pieces, because nothing ends a sleep.
    constexpr std::chrono::nanoseconds piece = std::chrono::milliseconds(10);
    for (const auto until = deadline_after(time); !is_over();) {
      const auto left = until - monotonic::now();
      if (left <= left.zero()) return true;
      std::this_thread::sleep_for(std::min(piece, left));
    }
    return false;
  }

  /// Runs the guest until its next exit. Signals of the caller's own do not end it. Fails with
  /// EINTR only once the call was interrupted; end() then says why.
  result<void> run() {
    if (outside_) {
      // Whether it may is seen below.
      static_cast<void>(gate_.step_in());
      outside_ = false;
    }
    for (;;) {
      if (is_over()) [[unlikely]] {
        if (!watchdog_->forked()) return error{.code = errc::timed_out, .os_error = EINTR};
        // It is the parent's call that is over. KVM refuses this process the vCPU.
        leave_behind();
      }
      auto ran = usage_ == nullptr ? vcpu_.run() : run_measured();
      if (ran) [[likely]]
        return ran;
      if (watchdog_->forked()) leave_behind();
      // A guest without its foothold makes KVM_RUN fail with EFAULT, as the host's own mistakes do.
      const bool stopped = ran.error().os_error == EFAULT && gate_.interrupted();
      if (ran.error().os_error != EINTR && !stopped) return ran;
    }
  }

  /// Ends the call. Fails if it was interrupted, even if the guest came to its end in the same
  /// moment: who interrupted it was told that it would not complete.
  result<void> end() {
    running_ = false;
    usage_ = nullptr;
    // In a child, what has called back there never returns.
    if (on_stop_ && watchdog_->forked()) [[unlikely]]
      leave_behind();
    on_stop_.reset();
    if (stop_if_ != nullptr) [[unlikely]] {
      asking_vcpu.store(outer_, std::memory_order_relaxed);
      // A signal handler on this thread sees the one before the other.
      std::atomic_signal_fence(std::memory_order_seq_cst);
      vcpu_.request_immediate_exit(false);
    }
    if (auto why = gate_.disarm()) [[unlikely]]
      return error{.code = *why};
    return {};
  }

 private:
  /// Forgets, in a child of fork, what another thread of the parent's may be busy with.
  void leave_behind() {
    new (&on_stop_) std::optional<std::stop_callback<stop_request>>;
    gate_.leave_behind();
  }

  result<void> run_measured() {
    const os::cpu_clock mine;
    const auto cpu_before = mine.now();
    const auto before = monotonic::now();
    auto ran = vcpu_.run();
    usage_->guest_time += monotonic::now() - before;
    usage_->guest_cpu += mine.now() - cpu_before;
    if (ran) ++usage_->exits;
    return ran;
  }

  struct stop_request {
    runner& call;
    void operator()() const { call.interrupt(errc::cancelled); }
  };

  /// Returns whether the call was interrupted, after asking stop_if.
  bool is_over() {
    if (stop_if_ != nullptr) [[unlikely]] {
      // In this order: a signal that comes before the question is answered by it, and one that
      // comes after has KVM_RUN return at once (ask_stop_if).
      vcpu_.request_immediate_exit(false);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (!gate_.interrupted() && stop_if_()) interrupt(errc::cancelled);
    }
    return gate_.interrupted();
  }

  kvm::vcpu vcpu_;
  interrupter gate_;
  std::shared_ptr<watchdog> watchdog_;
  std::optional<std::stop_callback<stop_request>> on_stop_;
  bool (*stop_if_)() = nullptr;
  kvm_run* outer_ = nullptr;  // What asking_vcpu was before this call.
  call_usage* usage_ = nullptr;
  bool running_ = false;
  bool outside_ = false;  // Whether the caller has all memory.
};

}  // namespace virtine::detail
