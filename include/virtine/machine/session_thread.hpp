// A guest that answers many calls through a mailbox in its memory: run by the caller for one call,
// or, while calls come fast, by a thread that waits for them inside, without an exit.
// docs/architecture.md has the protocol. Knows nothing of argument types or policies.
// SPDX-License-Identifier: MIT
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include <virtine/guest_memory.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/machine.hpp>
#include <virtine/machine/run_loop.hpp>
#include <virtine/os/block_signals.hpp>
#include <virtine/os/other_core.hpp>
#include <virtine/os/probe.hpp>
#include <virtine/os/process.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/loops.hpp>

namespace virtine::detail {

/// Waits for something that is expected within a microsecond and may take any time: spins for some
/// ten microseconds, then lets others run, then naps.
class backoff {
 public:
  /// Returns whether it has only spun so far.
  [[nodiscard]] bool is_short() const { return turns_ < spins; }

  /// Waits a little. Returns whether that was a nap.
  bool pause() {
    if (++turns_ < spins) {
      __builtin_ia32_pause();
    } else if (turns_ < 2500) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      return true;
    }
    return false;
  }

 private:
  static constexpr int spins = 500;
  int turns_ = 0;
};

/// Serves the machine of a session when it has stopped before its end, on the thread that runs it.
template <class Machine>
class session_server {
 public:
  virtual result<void> serve(Machine& stopped, guest_exit why) = 0;

 protected:
  ~session_server() = default;
};

/// Calls of one function of a machine, whose state they share. The caller's thread runs the guest
/// for one call, on the machine's first processor. While calls come fast, a thread of this one's
/// own keeps the guest inside, on the second, where it looks for calls until none has come for a
/// while. One thread at a time may use it. The guest can run while the host looks at its memory, so
/// that may change at any time.
template <class Machine>
class session_thread {
 public:
  /// `guest` must be as the snapshot has it. It and `server` must outlive this. The frames of all
  /// calls lie in its arguments at `frame_offset`, behind an x86::session_mailbox. Starts a thread;
  /// throws what std::thread does if it cannot.
  session_thread(Machine& guest, std::uint64_t function, std::uint32_t frame_offset,
                 session_server<Machine>& server)
      : machine_(guest), server_(server), frame_offset_(frame_offset) {
    const x86::session_mailbox mailbox{.function = function, .frame = frame_offset};
    std::memcpy(machine_.arguments().data(), &mailbox, sizeof mailbox);
    const os::block_signals meanwhile;
    thread_.reset(new std::thread([this] { live(); }));
  }
  session_thread(const session_thread&) = delete;
  session_thread& operator=(const session_thread&) = delete;

  /// Gets the guest out, at once if it keeps to the loop, and within a tenth of a second if not.
  /// The machine is then poisoned or can be restored. Waits for a call that is under way.
  ~session_thread() {
    if (thread_.get_deleter().home.forked()) return;  // Where there is no thread to wait for.
    auto now = state_.load();
    for (backoff waiting; now != state::closing && now != state::ended; now = state_.load()) {
      const bool idle = now == state::out || now == state::offered || now == state::resting;
      if (idle && state_.compare_exchange_strong(now, state::closing)) break;
      if (!idle) waiting.pause();
    }
    if (now == state::resting) {
      patience().store(0, std::memory_order_relaxed);
      // Again and again, because the guest's thread may not have entered yet.
      const auto until = monotonic::now() + std::chrono::milliseconds(100);
      while (state_.load() != state::ended && !machine_.second_runner().move_deadline(until)) {
        std::this_thread::yield();
      }
    }
    call_thread();
    thread_->join();
  }

  /// The memory for the frame of the next call and what it refers to.
  [[nodiscard]] std::span<std::byte> frame() { return machine_.arguments().subspan(frame_offset_); }
  [[nodiscard]] guest_address frame_address() const {
    return guest_address{to_number(machine_.arguments_address()) + frame_offset_};
  }

  /// Fails if no call can be made: after one that failed.
  [[nodiscard]] result<void> check_usable() const {
    if (failed_) return *failed_;
    return {};
  }

  /// Fails in a child of fork, where the guest's thread is not. Any thread may ask.
  [[nodiscard]] result<void> check_home() const {
    if (thread_.get_deleter().home.forked()) return not_ours();
    return {};
  }

  /// Makes a call whose frame is written, while check_usable(). Any failure is final. Rethrows what
  /// a handler has thrown.
  result<void> call(const run_limits& limits, std::uint64_t hypercalls) {
    hypercalls_ = hypercalls;
    served_ = 0;
    ++asked_;
    for (int turns = 0;; ++turns) {
      auto now = state_.load();
      if (now == state::out || (now == state::offered && turns > offer)) {
        if (state_.compare_exchange_strong(now, state::caller)) return run_here(limits);
      } else if (now == state::resting) {
        if (state_.compare_exchange_strong(now, state::calling)) return wait_for_answer(limits);
      } else if (now == state::offered) {
        // The thread takes it now, unless it is kept from running, if only by this one.
        if (turns == offer) std::this_thread::yield();
        __builtin_ia32_pause();
      } else {
        return collect();
      }
    }
  }

 private:
  // Who may change it, and to what:
  enum class state : std::uint32_t {
    out,      ///< Nobody is in the guest. The caller: caller. The thread: resting.
    caller,   ///< The caller is, for one call. It: out. The thread: wanted.
    wanted,   ///< The same; the thread waits to be next. The caller: offered. The thread: caller.
    offered,  ///< Nobody is. The thread: resting. The caller, if that takes long: caller.
    resting,  ///< The thread is, and no call is made. It: out. The caller: calling.
    calling,  ///< The thread is, to answer asked_. The caller: resting. The thread: left, serving.
    serving,  ///< The same; a handler runs. The thread: calling.
    left,     ///< The thread has gone to sleep in a call. The caller: out, caller.
    closing,  ///< The thread is to end; made of any but serving by the caller.
    ended,    ///< It has; ended_with_ and thrown_ say why. Made of any by the thread.
  };

  /// How long after a call the next one is not in a row with it, unless calls take longer.
  static constexpr std::chrono::microseconds gap{50};
  /// How many calls in a row the caller makes before it calls the guest's thread: few at first,
  /// more each time that did not pay.
  static constexpr int first_streak = 4;
  static constexpr int longest_streak = 4096;
  /// How often the caller looks whether the thread takes what it is offered.
  static constexpr int offer = 100;
  /// How many calls the thread must have answered to have been worth its waking, and to be worth a
  /// call that had to wait until the thread could run.
  static constexpr int worth_waking = 32;
  static constexpr int worth_waiting = 512;

  // Of the thread that calls.

  static error not_ours() {
    return os::of_a_parent("a session that the parent of this process opened before the fork");
  }

  template <class T>
  [[nodiscard]] std::atomic_ref<T> word(std::size_t offset) const {
    // Sound: aligned bytes of guest memory, which host and guest use as a number only.
    return std::atomic_ref(*reinterpret_cast<T*>(machine_.arguments().data() + offset));
  }
  [[nodiscard]] std::atomic_ref<std::uint64_t> request() const {
    return word<std::uint64_t>(offsetof(x86::session_mailbox, request));
  }
  [[nodiscard]] std::atomic_ref<std::uint64_t> answer() const {
    return word<std::uint64_t>(offsetof(x86::session_mailbox, answer));
  }
  [[nodiscard]] std::atomic_ref<std::uint32_t> patience() const {
    return word<std::uint32_t>(offsetof(x86::session_mailbox, patience));
  }

  /// Runs the guest for one call, on this thread.
  result<void> run_here(const run_limits& limits) {
    if (answered_ > 0) end_stay(answered_ >= worth_waking);
    const auto begin = monotonic::now();
    patience().store(0, std::memory_order_relaxed);
    request().store(asked_, std::memory_order_relaxed);
    auto ran = run_guest(machine_, x86::session_function, limits,
                         [this](guest_exit why) { return serve_quietly(why); });
    if (ran && answer().load(std::memory_order_relaxed) != asked_) {
      ran = error{.code = errc::bad_reply, .operation = "the guest left without an answer"};
    }
    if (!ran) {
      ended_with_ = of_this_session(ran.error());
      state_.store(state::closing);
      return collect();
    }
    count_own(begin, monotonic::now());
    auto now = state::caller;
    if (!state_.compare_exchange_strong(now, state::out)) state_.store(state::offered);
    return {};
  }

  /// Posts a call to the guest that another thread runs, and waits.
  result<void> wait_for_answer(const run_limits& limits) {
    request().store(asked_, std::memory_order_release);
    auto& guest = machine_.second_runner();
    // Not yet where the thread is about to enter.
    bool moved = guest.move_deadline(limits.until);
    auto begin = monotonic::time_point::max();
    for (backoff waiting;;) {
      const std::uint64_t answered = answer().load(std::memory_order_acquire);
      if (answered == asked_) break;
      if (answered != asked_ - 1) return halt("the guest answered a call that was not made");
      const auto now = state_.load();
      if (now == state::ended) return collect();
      if (now == state::left) {
        // Before it saw the call; or it did answer, which the loop then sees.
        state_.store(state::caller);
        return run_here(limits);
      }
      if (!moved) moved = guest.move_deadline(limits.until);
      if (limits.stop.stop_requested() || (limits.stop_if != nullptr && limits.stop_if())) {
        guest.interrupt(errc::cancelled);
      }
      if (!waiting.is_short()) begin = std::min(begin, monotonic::now());
      if (waiting.pause() && thread_.get_deleter().home.forked()) return not_ours();
    }
    auto now = state::calling;
    if (!state_.compare_exchange_strong(now, state::resting)) {
      if (now == state::ended) return collect();
      if (now != state::left) return halt("the guest answered a call while it made a hypercall");
      state_.store(state::out);
    }
    last_ = monotonic::now();
    // From here on the guest has nothing to do but to go to sleep.
    guest.move_deadline(last_ + std::chrono::seconds(1));
    if (called_) ++answered_;
    if (begin < last_ && last_ - begin > 2 * own_) {
      // The thread was kept from running for longer than the call would have taken here.
      patience().store(0, std::memory_order_relaxed);
      if (called_) end_stay(answered_ >= worth_waiting);
    }
    return {};
  }

  /// Counts a call that the caller has run itself, and calls the guest's thread after many in a
  /// row.
  void count_own(monotonic::time_point begin, monotonic::time_point end) {
    own_ = std::max(end - begin, own_ - own_ / 8);
    streak_ = begin - last_ < std::max<monotonic::duration>(gap, own_) ? streak_ + 1 : 1;
    last_ = end;
    if (streak_ < enough_) return;
    if (called_) end_stay(false);  // It did not come in time, or could not.
    streak_ = 0;
    called_ = true;
    call_thread();
  }

  /// Draws the lesson of what the guest's thread was called for.
  void end_stay(bool paid) {
    enough_ = paid ? first_streak : std::min(2 * enough_, longest_streak);
    called_ = false;
    answered_ = 0;
  }

  void call_thread() {
    callers_core_.store(sched_getcpu());
    calls_for_thread_.fetch_add(1);
    calls_for_thread_.notify_one();
  }

  /// Returns why the session has ended.
  error collect() {
    failed_ = ended_with_;
#ifdef __cpp_exceptions
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
    return *failed_;
  }

  /// Ends the session because the guest does not keep to the protocol.
  error halt(const char* what) {
    failed_ = error{.code = errc::bad_reply, .operation = what};
    // The guest is interrupted until it is out; a handler that runs is waited for, as by any call.
    for (backoff waiting;; waiting.pause()) {
      auto now = state_.load();
      if (now == state::calling) state_.compare_exchange_strong(now, state::closing);
      if (now == state::left) state_.store(state::closing);
      if (now == state::left || now == state::ended) return *failed_;
      // Again and again, because the guest's thread may not have entered yet.
      machine_.second_runner().interrupt(errc::cancelled);
    }
  }

  // Of the thread that runs the guest, whichever it is.

  static error of_this_session(error why) {
    // The machine was entered before, so that this session's guest did it.
    if (why.code == not_entered) why.code = errc::guest_fault;
    return why;
  }

  result<void> serve_quietly(guest_exit why) {
    if (served_++ >= hypercalls_) {
      return error{.code = errc::hypercall_limit, .detail = hypercalls_};
    }
#ifdef __cpp_exceptions
    try {
      return server_.serve(machine_, why);
    } catch (...) {
      thrown_ = std::current_exception();
      return error{.code = errc::machine_failure, .operation = "a handler of the session threw"};
    }
#else
    return server_.serve(machine_, why);
#endif
  }

  // Of the guest's thread.

  void live() {
    bool has_processor = false;
    for (std::uint32_t heard = 0;;) {
      VIRTINE_PROBE(session__slept, &machine_, this);
      calls_for_thread_.wait(heard);
      VIRTINE_PROBE(session__woken, &machine_, this);
      heard = calls_for_thread_.load();
      if (state_.load() == state::closing) break;
      // Without a processor of its own it leaves all calls to the caller.
      if (!has_processor) has_processor = machine_.take_second().has_value();
      if (has_processor && take_over() && !stay()) break;
    }
    state_.store(state::ended);
  }

  /// Has this thread be the next in the guest. Returns false if that takes longer than a call that
  /// comes fast, or if the session closes.
  bool take_over() {
    const int callers = callers_core_.load();
    os::leave_core(callers);
    const bool alone = sched_getcpu() != callers;
    const auto until = monotonic::now() + std::chrono::microseconds(300);
    for (;;) {
      auto now = state_.load();
      if (now == state::closing) return false;
      if ((now == state::out || now == state::offered) &&
          state_.compare_exchange_strong(now, state::resting)) {
        return true;
      }
      const bool late = monotonic::now() > until;
      if (now == state::caller && !late) state_.compare_exchange_strong(now, state::wanted);
      if (late && now != state::offered &&
          (now != state::wanted || state_.compare_exchange_strong(now, state::caller))) {
        return false;
      }
      if (alone) {
        __builtin_ia32_pause();
      } else {
        std::this_thread::yield();  // Lets the caller come to the end of its call.
      }
    }
  }

  /// Keeps the guest inside until it has gone to sleep. Returns false if the session has ended.
  bool stay() {
    machine_.use_second(true);
    patience().store(x86::session_patience, std::memory_order_relaxed);
    // No call is pending, or its caller moves the deadline.
    auto stayed = run_guest(machine_, x86::session_function,
                            {.until = monotonic::now() + std::chrono::seconds(1)},
                            [this](guest_exit why) { return serve(why); });
    machine_.use_second(false);
    if (!stayed) {
      ended_with_ = of_this_session(stayed.error());
      return false;
    }
    for (auto now = state_.load(); now != state::closing;) {
      const auto next = now == state::resting ? state::out : state::left;
      if (state_.compare_exchange_strong(now, next)) return true;
    }
    return false;
  }

  result<void> serve(guest_exit why) {
    auto now = state::calling;
    if (!state_.compare_exchange_strong(now, state::serving)) {
      return error{.code = errc::hypercall_denied, .detail = machine_.hypercall_number()};
    }
    auto served = serve_quietly(why);
    state_.store(state::calling);
    return served;
  }

  Machine& machine_;
  session_server<Machine>& server_;
  const std::uint32_t frame_offset_;
  // Of the thread that calls.
  std::optional<error> failed_;
  monotonic::time_point last_{};  // When the last call was over.
  monotonic::duration own_{};     // How long a call takes here, at most; forgotten slowly.
  std::uint64_t asked_ = 0;       // The number of the last call.
  int streak_ = 0;                // Calls in a row that the caller has run itself.
  int enough_ = first_streak;     // How many make it call the guest's thread.
  bool called_ = false;           // Whether it has, and not yet drawn the lesson.
  int answered_ = 0;              // By the thread since.
  // Of the thread that runs the guest, and of the caller while none does for a call.
  std::uint64_t hypercalls_ = 0;
  std::uint64_t served_ = 0;  // How many hypercalls the call has made.
  error ended_with_{.code = errc::machine_failure, .operation = "the session was closed"};
  std::exception_ptr thrown_;  // As ended_with_: written before the state says so.
  std::atomic<state> state_{state::out};
  std::atomic<std::uint32_t> calls_for_thread_{0};
  std::atomic<int> callers_core_{-1};  // When it called last.
  // Last: the thread starts when the rest is ready. In a child of fork its handle may be another's.
  struct fork_aware_delete {
    os::home_process home;
    void operator()(std::thread* it) const {
      if (!home.forked()) delete it;
    }
  };
  std::unique_ptr<std::thread, fork_aware_delete> thread_;
};

}  // namespace virtine::detail
