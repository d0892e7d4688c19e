// Stopping a call that runs: one gate per machine through which a deadline or a stop request
// reaches a thread inside KVM_RUN. docs/architecture.md has the table of the races.
// Knows nothing of images or calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include <virtine/error.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/process.hpp>
#include <virtine/result.hpp>

namespace virtine {

namespace detail {

using monotonic = std::chrono::steady_clock;

/// Finds the signal that interrupts KVM_RUN: the highest real-time signal whose action is the
/// default, or which another copy of this library has taken. Returns 0 if there is none.
inline int find_interrupt_signal() {
  struct sigaction ours {};
  // That KVM_RUN returns EINTR is the message; the handler is to do nothing. One of the C library's
  // is the same for all copies, so that they know each other's signal, and outlives them.
  // Sound: the kernel calls it with an argument that it does not look at, at any point.
  ours.sa_handler = reinterpret_cast<void (*)(int)>(reinterpret_cast<void (*)()>(&::getppid));
  ours.sa_flags = SA_ONSTACK;  // No SA_RESTART: KVM_RUN has to return.
  for (int number = SIGRTMAX; number > SIGRTMIN; --number) {
    struct sigaction current {};
    // Sound: sigaction only reads the disposition here.
    if (sigaction(number, nullptr, &current) != 0 || (current.sa_flags & SA_SIGINFO) != 0) continue;
    if (current.sa_handler == ours.sa_handler) return number;
    // Sound: nobody has asked for this signal.
    if (current.sa_handler == SIG_DFL && sigaction(number, &ours, nullptr) == 0) return number;
  }
  return 0;
}

/// Returns the signal that was found when one was first needed.
inline int interrupt_signal() {
  static const int found = find_interrupt_signal();
  return found;
}

/// Fails if no signal is free, because a guest could then not be stopped.
inline result<void> can_interrupt() {
  if (interrupt_signal() != 0) return {};
  return error{.code = errc::kvm_call,
               .os_error = EBUSY,
               .operation = "all real-time signals have handlers, and one is needed to stop calls"};
}

/// Returns this thread, after making sure that the interrupt signal can reach it.
inline pthread_t interruptible_thread() {
  thread_local const pthread_t self = [] {
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, interrupt_signal());
    // Sound: changes this thread's mask for a signal that nothing else uses.
    pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
    return pthread_self();
  }();
  return self;
}

}  // namespace detail

/// Returns when a call that starts now has run for `timeout`; never, if that is out of range.
inline detail::monotonic::time_point deadline_after(std::chrono::nanoseconds timeout) {
  const auto now = detail::monotonic::now();
  constexpr auto never = detail::monotonic::time_point::max();
  return timeout < never - now ? now + timeout : never;
}

/// The gate of one machine. The owner arms it before the first KVM_RUN of a call and disarms it
/// after the last; in between, anyone may interrupt the call once.
class run_gate {
 public:
  using time_point = detail::monotonic::time_point;

  explicit run_gate(kvm::vcpu& cpu) : cpu_(cpu) {}
  run_gate(const run_gate&) = delete;
  run_gate& operator=(const run_gate&) = delete;

  /// Opens the call that this thread is about to run; `until` is its deadline.
  void arm(detail::monotonic::time_point until) {
    thread_ = detail::interruptible_thread();
    // seq_cst, with the watchdog's store of its next waking: one of the two sees the other, so no
    // deadline is missed between a scan and the sleep after it.
    state_.store(armed_until(until));
  }

  /// Ends the call. Returns why it was interrupted, if it was; the machine must then be discarded.
  std::optional<errc> disarm() {
    std::int64_t armed = state_.load(std::memory_order_relaxed);
    while (armed > idle) {
      if (state_.compare_exchange_weak(armed, idle)) [[likely]]
        return std::nullopt;
    }
    // Somebody is interrupting. Wait until the signal has been sent, then let it arrive in a system
    // call of ours; otherwise it would interrupt a system call of the caller's, later.
    while ((armed = state_.load(std::memory_order_acquire)) == interrupting) {
      std::this_thread::yield();
    }
    // Sound: getppid has no effect; pending signals are delivered on the way out of it.
    syscall(SYS_getppid);
    cpu_.request_immediate_exit(false);
    state_.store(idle);
    return static_cast<errc>(-armed);
  }

  /// Makes the call one that nobody interrupts, in a child of fork: there nobody ends what another
  /// thread of the parent's had begun.
  void leave_behind() { state_.store(1); }

  /// Moves the deadline of the call that runs now. Returns false if there is none, or it was
  /// interrupted. Any thread may do this.
  bool move(time_point until) {
    std::int64_t armed = state_.load();
    while (armed > idle) {
      if (state_.compare_exchange_weak(armed, armed_until(until))) return true;
    }
    return false;
  }

  /// Interrupts the call that runs now, if there is one.
  void interrupt(errc why) {
    std::int64_t armed = state_.load();
    while (armed > idle) {
      if (interrupt_if(armed, why)) return;
    }
  }

  /// Interrupts the call if its deadline has passed. Returns the deadline that is still to come.
  std::optional<detail::monotonic::time_point> check(detail::monotonic::time_point now) {
    std::int64_t armed = state_.load();
    while (armed > idle) {
      const detail::monotonic::time_point until{detail::monotonic::duration{armed}};
      if (until > now) return until;
      if (interrupt_if(armed, errc::timed_out)) break;
    }
    return std::nullopt;
  }

  /// Returns whether the call was interrupted and must not enter the guest again.
  [[nodiscard]] bool interrupted() const { return state_.load(std::memory_order_relaxed) < idle; }

 private:
  // Idle, the deadline of the running call (> 0), being interrupted, or interrupted for -errc.
  static constexpr std::int64_t idle = 0;
  static constexpr std::int64_t interrupting = INT64_MIN;

  static std::int64_t armed_until(time_point until) {
    return std::max<std::int64_t>(until.time_since_epoch().count(), 1);
  }

  bool interrupt_if(std::int64_t& armed, errc why) {
    if (!state_.compare_exchange_strong(armed, interrupting)) return false;
    // immediate_exit closes the window before KVM_RUN; the signal ends a KVM_RUN under way.
    cpu_.request_immediate_exit(true);
    // Sound: the owner stays in disarm() until state_ changes, so its thread exists.
    pthread_kill(thread_, detail::interrupt_signal());
    state_.store(-static_cast<std::int64_t>(why), std::memory_order_release);
    return true;
  }

  kvm::vcpu& cpu_;
  std::atomic<std::int64_t> state_{idle};
  pthread_t thread_{};  // Written before state_ is armed, read after it was seen armed.
};

/// The thread that watches the deadlines of all machines of the process. It wakes no later than the
/// nearest deadline it knows of, and a call has to wake it only if its own deadline is nearer: with
/// calls of one timeout in a row, once per timeout at most; all others pay one load.
class watchdog {
 public:
  /// Returns the process's watchdog, starting it if there is none. It ends with its last holder.
  /// Fails if guests could not be stopped: no thread can be had for it, or no signal.
  static result<std::shared_ptr<watchdog>> shared() {
    if (auto able = detail::can_interrupt(); !able) return able.why();
    // A child of fork has one of its own, since a fork copies the object but not its thread.
    struct holder {
      std::mutex guard;
      std::weak_ptr<watchdog> current;
    };
    holder& here = detail::of_this_process<holder>();
    std::lock_guard lock(here.guard);
    std::shared_ptr<watchdog> found = here.current.lock();
    if (!found) {
      auto started = start();
      if (!started) return started;
      found = *std::move(started);
      here.current = found;
    }
    return found;
  }

  watchdog() : thread_([this] { watch(); }) {}
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void add(run_gate& gate) {
    std::lock_guard lock(mutex_);
    gates_.push_back(&gate);
  }

  /// After this the watchdog does not touch the gate any more.
  void remove(run_gate& gate) {
    if (home_.forked()) return;  // A child of fork may find the mutex locked for good.
    std::lock_guard lock(mutex_);
    std::erase(gates_, &gate);
  }

  /// Returns whether this is a child of fork of the process whose watchdog it is.
  [[nodiscard]] bool forked() const { return home_.forked(); }

  /// Tells of a gate that was just armed until `until`.
  void expect(detail::monotonic::time_point until) {
    if (until.time_since_epoch().count() >= next_wake_.load()) return;
    {
      std::lock_guard lock(mutex_);
      expected_ = std::min(expected_, until);
    }
    wake_.notify_one();
  }

 private:
  static constexpr auto never = detail::monotonic::time_point::max();

  static result<std::shared_ptr<watchdog>> start() {
    const auto make = [] {
      return std::shared_ptr<watchdog>(new watchdog, [](watchdog* last) {
        // In a child of fork there is no thread to join and nobody to leave the condition variable.
        if (!last->home_.forked()) delete last;
      });
    };
#ifdef __cpp_exceptions
    try {
      return make();
    } catch (const std::system_error& why) {
      return error{.code = errc::kvm_call,
                   .os_error = why.code().value(),
                   .operation = "no thread can be started to watch over deadlines"};
    }
#else
    return make();
#endif
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      // First say "I may sleep for ever", then look: a gate that is armed after the look sees this
      // and calls expect(); one armed before is seen by the look.
      next_wake_.store(never.time_since_epoch().count());
      const auto now = detail::monotonic::now();
      if (expected_ <= now) expected_ = never;
      auto next = expected_;
      for (run_gate* gate : gates_) {
        if (auto until = gate->check(now)) next = std::min(next, *until);
      }
      expected_ = next;
      next_wake_.store(next.time_since_epoch().count());
      const auto sooner = [&] { return stopping_ || expected_ < next; };
      if (next == never) {
        wake_.wait(lock, sooner);
      } else {
        wake_.wait_until(lock, next, sooner);
      }
    }
  }

  const home_process home_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<run_gate*> gates_;                    // Guarded by mutex_.
  detail::monotonic::time_point expected_ = never;  // Guarded by mutex_.
  bool stopping_ = false;                           // Guarded by mutex_.
  std::atomic<std::int64_t> next_wake_{INT64_MAX};
  std::thread thread_;  // Last: it starts when the rest is ready.
};

}  // namespace virtine
