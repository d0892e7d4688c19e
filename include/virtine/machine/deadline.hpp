// Stopping a call that runs: one gate per machine through which a deadline or a stop request
// reaches a guest. docs/architecture.md has the table of the races.
// Knows nothing of images or calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <virtine/error.hpp>
#include <virtine/os/block_signals.hpp>
#include <virtine/os/cpu_clock.hpp>
#include <virtine/os/process.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

using monotonic = std::chrono::steady_clock;

/// Returns when a call that starts now has run for `timeout`; never, if that is out of range.
inline monotonic::time_point deadline_after(std::chrono::nanoseconds timeout) {
  const auto now = monotonic::now();
  constexpr auto never = monotonic::time_point::max();
  return timeout < never - now ? now + timeout : never;
}

/// The memory without which a guest cannot execute another instruction, as the host has it mapped
/// with `protection`: whole mappings, so that to change it takes no memory.
struct foothold {
  std::span<std::byte> memory = {};
  int protection = PROT_READ | PROT_WRITE;
};

/// The gate of one machine. The owner arms it before the first KVM_RUN of a call and disarms it
/// after the last; in between, anyone may interrupt the call once.
///
/// A guest is stopped by taking its foothold away: KVM learns of it before mprotect returns, gets
/// the processor out of the guest, and KVM_RUN fails, now or when it is next called. That needs
/// nothing of the thread that is in it, neither a signal nor a mask. The host itself must not touch
/// the foothold while this can happen, and so says when it is outside of the guest.
class interrupter {
 public:
  using time_point = monotonic::time_point;

  explicit interrupter(const detail::foothold& of) : foothold_(of) {}
  interrupter(const interrupter&) = delete;
  interrupter& operator=(const interrupter&) = delete;

  /// Gives the gate another foothold; not while a call runs.
  void stand_on(const detail::foothold& other) { foothold_ = other; }

  /// Opens the call that this thread is about to run, and enters; `until` is its deadline.
  void arm(time_point until) {
    // seq_cst, with the watchdog's store of its next waking: one of the two sees the other, so no
    // deadline is missed between a scan and the sleep after it.
    state_.store(armed_until(until));
  }

  /// Has the next call end, too, when this thread has used `time` of CPU time from now on. Returns
  /// until when that call is to be armed: the first moment at which there is something to look at.
  time_point limit_cpu(std::chrono::nanoseconds time, time_point until) {
    const os::cpu_clock mine;
    const auto used = mine.now();
    cpu_clock_.store(mine.id(), std::memory_order_relaxed);
    const auto never = std::chrono::nanoseconds::max();
    cpu_until_.store((time < never - used ? used + time : never).count(),
                     std::memory_order_relaxed);
    until_.store(until, std::memory_order_relaxed);
    // A thread takes no less time than CPU time.
    return std::min(until, deadline_after(time));
  }

  /// Says that the owner is out of the guest and may touch its foothold. Returns false if the call
  /// was interrupted; it may then all the same.
  bool step_out() {
    return change([](std::int64_t armed) { return armed & ~inside; });
  }

  /// Says that the owner is about to enter the guest again. Returns false if it must not.
  bool step_in() {
    return change([](std::int64_t armed) { return armed | inside; });
  }

  /// Ends the call; the owner may touch the foothold then. Returns why the call was interrupted, if
  /// it was; the machine must then be discarded.
  std::optional<errc> disarm() {
    const bool in_time = change([](std::int64_t) { return idle; });
    if (limits_cpu()) [[unlikely]]
      cpu_until_.store(no_cpu_limit, std::memory_order_relaxed);
    if (in_time) [[likely]]
      return std::nullopt;
    return static_cast<errc>(-state_.exchange(idle));
  }

  /// Makes the call one that nobody interrupts, in a child of fork: there nobody ends what another
  /// thread of the parent's had begun.
  void leave_behind() {
    revoked_ = false;
    if (!protect(foothold_.protection)) replace();
    state_.store(armed_until(time_point::max()));
  }

  /// Moves the deadline of the call that runs now. Returns false if there is none, or it was
  /// interrupted. Any thread may do this.
  bool move(time_point until) {
    std::int64_t armed = state_.load();
    while (armed > idle) {
      const std::int64_t moved = armed_until(until) & (armed | ~inside);
      if (state_.compare_exchange_weak(armed, moved)) return true;
    }
    return false;
  }

  /// Interrupts the call that runs now, if there is one. Returns false if the kernel refuses this
  /// thread the means; the call's deadline is then over, so that the watchdog tries.
  bool interrupt(errc why) {
    std::int64_t armed = state_.load();
    while (armed > idle) {
      const attempt made = interrupt_if(armed, why);
      if (made != attempt::late) return made == attempt::done;
    }
    return true;
  }

  /// Interrupts the call if its deadline has passed. Returns when to look again, if at all.
  std::optional<time_point> check(time_point now) {
    std::int64_t armed = state_.load();
    while (armed > idle) {
      const time_point until{monotonic::duration{armed | inside}};
      if (until > now) return until;
      errc why = errc::timed_out;
      if ((armed | inside) == cancelled_late) {
        why = errc::cancelled;
      } else if (limits_cpu() && until_.load(std::memory_order_relaxed) > now) {
        why = errc::cpu_limit;
        if (const auto left = cpu_time_left(); left > left.zero()) {
          // What other threads took of the time since then is not this call's.
          const time_point later = std::min(until_.load(std::memory_order_relaxed), now + left);
          const std::int64_t moved = armed_until(later) & (armed | ~inside);
          if (state_.compare_exchange_strong(armed, moved)) return later;
          continue;
        }
      }
      switch (interrupt_if(armed, why)) {
        case attempt::late:
          break;
        case attempt::done:
          return std::nullopt;
        case attempt::refused:
          return now + std::chrono::milliseconds(10);
      }
    }
    return std::nullopt;
  }

  /// Returns whether the call was interrupted and must not enter the guest again.
  [[nodiscard]] bool interrupted() const { return state_.load(std::memory_order_relaxed) < idle; }

 private:
  // Idle; the deadline of the running call, whose lowest bit says whether the owner is inside the
  // guest; being interrupted; or interrupted for -errc.
  static constexpr std::int64_t idle = 0;
  static constexpr std::int64_t inside = 1;
  static constexpr std::int64_t interrupting = INT64_MIN;
  // Deadlines that no call has: those of calls that somebody failed to interrupt.
  static constexpr std::int64_t timed_out_late = 3;
  static constexpr std::int64_t cancelled_late = 5;

  static constexpr std::int64_t no_cpu_limit = INT64_MAX;

  [[nodiscard]] bool limits_cpu() const {
    return cpu_until_.load(std::memory_order_relaxed) != no_cpu_limit;
  }
  /// Returns how much the call that runs has left, and no less than what is worth waiting for.
  [[nodiscard]] std::chrono::nanoseconds cpu_time_left() const {
    constexpr std::chrono::nanoseconds shortest = std::chrono::microseconds(200);
    const auto used = os::cpu_clock(cpu_clock_.load(std::memory_order_relaxed)).now();
    const std::chrono::nanoseconds until(cpu_until_.load(std::memory_order_relaxed));
    return used < until ? std::max(until - used, shortest) : std::chrono::nanoseconds::zero();
  }

  enum class attempt : std::uint8_t {
    done,
    late,     ///< The state has changed meanwhile.
    refused,  ///< By the kernel.
  };

  static std::int64_t armed_until(time_point until) {
    return (std::max<std::int64_t>(until.time_since_epoch().count(), cancelled_late + 2) - 1) |
           inside;
  }

  attempt interrupt_if(std::int64_t& armed, errc why) {
    const std::int64_t reason = -static_cast<std::int64_t>(why);
    if ((armed & inside) == 0) {
      // There is nothing to stop: the owner looks before it enters again.
      return state_.compare_exchange_strong(armed, reason) ? attempt::done : attempt::late;
    }
    if (!state_.compare_exchange_strong(armed, interrupting)) return attempt::late;
    // The owner is between arm() or step_in() and its next change of the state, which waits for
    // this one, and touches nothing of this memory there. That is for KVM_RUN to find missing.
    const bool revoked = protect(PROT_NONE);
    revoked_ = revoked;
    const std::int64_t late = why == errc::cancelled ? cancelled_late : timed_out_late;
    // From here on revoked_ is the owner's.
    state_.store(revoked ? reason : late);
    state_.notify_all();
    return revoked ? attempt::done : attempt::refused;
  }

  /// Of the owner: makes the state `next` of what it is, if the call was not interrupted. If it was
  /// waits until whoever does it is through, and puts the foothold back.
  template <class Next>
  bool change(Next next) {
    std::int64_t armed = state_.load(std::memory_order_relaxed);
    for (;;) {
      while (armed > idle) {
        if (state_.compare_exchange_weak(armed, next(armed))) [[likely]]
          return true;
      }
      if (armed != interrupting) break;
      if (home_.forked()) {
        leave_behind();
      } else {
        // As long as the other thread's mprotect takes.
        state_.wait(interrupting, std::memory_order_acquire);
      }
      armed = state_.load(std::memory_order_acquire);
    }
    // Sees revoked_ as the interrupter has left it.
    static_cast<void>(state_.load(std::memory_order_acquire));
    if (std::exchange(revoked_, false) && !protect(foothold_.protection)) replace();
    return false;
  }

  [[nodiscard]] bool protect(int how) const {
    // Sound: the range stays mapped as long as the gate exists, and the callers know who uses it.
    return ::mprotect(foothold_.memory.data(), foothold_.memory.size(), how) == 0;
  }

  /// Puts empty memory where the kernel does not give back what was there, because a limit of data
  /// (RLIMIT_DATA) was reached meanwhile: the host must find some.
  void replace() const {
    // Sound: the range is the foothold's, which nobody else uses now; its machine is discarded.
    static_cast<void>(::mmap(foothold_.memory.data(), foothold_.memory.size(), foothold_.protection,
                             MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }

  const os::home_process home_;
  detail::foothold foothold_;
  std::atomic<std::int64_t> state_{idle};
  // Of a call that limits its CPU time: that thread's clock, when it is over by that, and when by
  // the other. The watchdog may read those of a call that begins meanwhile; it then finds that the
  // state has changed, too.
  std::atomic<clockid_t> cpu_clock_{0};
  std::atomic<std::int64_t> cpu_until_{no_cpu_limit};
  std::atomic<time_point> until_{};
  bool revoked_ = false;  // Of who interrupts while it does, and of the owner before and after.
};

/// The thread that watches the deadlines of all machines of the process. It wakes no later than the
/// nearest deadline it knows of, and a call has to wake it only if its own deadline is nearer: with
/// calls of one timeout in a row, once per timeout at most; all others pay one load.
class watchdog {
 public:
  /// Returns the process's watchdog, starting it if there is none. It ends with its last holder.
  /// Fails if no thread can be had for it.
  static result<std::shared_ptr<watchdog>> shared() {
    // A child of fork has one of its own, since a fork copies the object but not its thread.
    struct holder {
      std::mutex guard;
      std::weak_ptr<watchdog> current;
    };
    holder& here = os::of_this_process<holder>();
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

  watchdog() {
    const os::block_signals meanwhile;
    thread_ = std::thread([this] { watch(); });
  }
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

  void add(interrupter& gate) {
    std::lock_guard lock(mutex_);
    gates_.push_back(&gate);
  }

  /// After this the watchdog does not touch the gate any more.
  void remove(interrupter& gate) {
    if (home_.forked()) return;  // A child of fork may find the mutex locked for good.
    std::lock_guard lock(mutex_);
    std::erase(gates_, &gate);
  }

  /// Returns whether this is a child of fork of the process whose watchdog it is.
  [[nodiscard]] bool forked() const { return home_.forked(); }

  /// Tells of a gate that was just armed until `until`.
  void expect(monotonic::time_point until) {
    if (until.time_since_epoch().count() >= next_wake_.load() || home_.forked()) return;
    {
      std::lock_guard lock(mutex_);
      expected_ = std::min(expected_, until);
    }
    wake_.notify_one();
  }

 private:
  static constexpr auto never = monotonic::time_point::max();

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
      return error{.code = errc::os_error,
                   .os_error = why.code().value(),
                   .operation =
                       "no thread can be started to watch over deadlines; raise the limit of "
                       "processes (ulimit -u, or pids.max of the control group)"};
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
      const auto now = monotonic::now();
      if (expected_ <= now) expected_ = never;
      auto next = expected_;
      for (interrupter* gate : gates_) {
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

  const os::home_process home_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<interrupter*> gates_;         // Guarded by mutex_.
  monotonic::time_point expected_ = never;  // Guarded by mutex_.
  bool stopping_ = false;                   // Guarded by mutex_.
  std::atomic<std::int64_t> next_wake_{INT64_MAX};
  std::thread thread_;
};

}  // namespace virtine::detail
