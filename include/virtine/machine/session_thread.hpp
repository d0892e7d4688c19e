// A guest that stays: its thread, and the calls made through a mailbox in its memory without an
// exit. docs/architecture.md has the protocol. Knows nothing of argument types or policies.
// SPDX-License-Identifier: MIT
#pragma once

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
#include <virtine/os/process.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/loops.hpp>

namespace virtine::detail {

/// Waits for something that is expected within a microsecond and may take any time: spins for some
/// ten microseconds, then lets others run, then naps.
class backoff {
 public:
  /// Waits a little. Returns whether that was a nap.
  bool pause() {
    if (++turns_ < 500) {
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
  int turns_ = 0;
};

/// Serves the machine of a session when it has stopped before its end, on the guest's thread.
class session_server {
 public:
  virtual result<void> serve(machine& stopped, guest_exit why) = 0;

 protected:
  ~session_server() = default;
};

/// Has a function of a machine stay in the guest on a thread of its own and answer calls. One
/// thread at a time may use it. The guest runs while the host looks at its memory, so
/// it may change at any time.
class session_thread {
 public:
  /// `guest` must be as the snapshot has it. It and `server` must outlive this. The frames of all
  /// calls lie in its arguments at `frame_offset`, behind an x86::session_mailbox. Starts a thread;
  /// throws what std::thread does if it cannot.
  session_thread(machine& guest, std::uint64_t function, std::size_t frame_offset,
                 session_server& server)
      : machine_(guest), server_(server), frame_offset_(frame_offset) {
    const x86::session_mailbox mailbox{.function = function, .frame = to_number(frame_address())};
    std::memcpy(machine_.arguments().data(), &mailbox, sizeof mailbox);
    const os::block_signals meanwhile;
    thread_.reset(new std::thread([this] { live(); }));
  }
  session_thread(const session_thread&) = delete;
  session_thread& operator=(const session_thread&) = delete;

  /// Gets the guest out, at once if it keeps to the loop, and within a tenth of a second if not.
  /// The machine is then poisoned or can be restored. Waits for a handler that runs.
  ~session_thread() {
    if (thread_.get_deleter().home.forked()) return;  // Where there is no thread to wait for.
    auto current = state::idle;
    if (state_.compare_exchange_strong(current, state::closing)) {
      state_.notify_one();
      const std::uint64_t leave = x86::session_leave;
      std::memcpy(machine_.arguments().data() + offsetof(x86::session_mailbox, function), &leave,
                  sizeof leave);
      request().store(asked_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
      machine_.guest_runner().move_deadline(monotonic::now() + std::chrono::milliseconds(100));
    }
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
    const std::uint64_t number = asked_.load(std::memory_order_relaxed) + 1;
    hypercalls_ = hypercalls;
    until_.store(limits.until, std::memory_order_relaxed);
    asked_.store(number, std::memory_order_relaxed);
    auto current = state::idle;
    if (!state_.compare_exchange_strong(current, state::calling)) return collect();
    state_.notify_one();
    request().store(number, std::memory_order_release);
    // If the guest is out or about to leave, its thread finds until_ when it enters again.
    machine_.guest_runner().move_deadline(limits.until);
    for (backoff waiting;;) {
      const std::uint64_t answered = answer().load(std::memory_order_acquire);
      if (answered == number) break;
      if (answered != number - 1) return halt("the guest answered a call that was not made");
      if (state_.load(std::memory_order_acquire) == state::ended) return collect();
      if (limits.stop.stop_requested() || (limits.stop_if != nullptr && limits.stop_if())) {
        machine_.guest_runner().interrupt(errc::cancelled);
      }
      if (waiting.pause() && thread_.get_deleter().home.forked()) return not_ours();
    }
    current = state::calling;
    if (!state_.compare_exchange_strong(current, state::idle)) {
      if (current == state::ended) return collect();
      return halt("the guest answered a call while it made a hypercall");
    }
    // From here on the guest has nothing to do but to go to sleep.
    machine_.guest_runner().move_deadline(monotonic::now() + std::chrono::seconds(1));
    return {};
  }

 private:
  // Who may change it: idle to calling and back, the caller; calling to serving and back, the
  // guest's thread; anything but serving and ended to closing, the caller; anything to ended, the
  // guest's thread.
  enum class state : std::uint32_t {
    idle,     ///< No call is under way: a guest that goes to sleep stays out.
    calling,  ///< The guest is to answer asked_.
    serving,  ///< The same; a handler runs.
    closing,  ///< The thread is to end.
    ended,    ///< It has; ended_with_ and thrown_ say why.
  };

  // Of the thread that calls.

  static error not_ours() {
    return os::of_a_parent("a session that the parent of this process opened before the fork");
  }

  [[nodiscard]] std::atomic_ref<std::uint64_t> shared(std::size_t offset) {
    // Sound: eight aligned bytes of guest memory, which host and guest use as a number only.
    return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(machine_.arguments().data() + offset));
  }
  [[nodiscard]] std::atomic_ref<std::uint64_t> request() {
    return shared(offsetof(x86::session_mailbox, request));
  }
  [[nodiscard]] std::atomic_ref<std::uint64_t> answer() {
    return shared(offsetof(x86::session_mailbox, answer));
  }

  /// Returns why the guest's thread has ended.
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
      auto current = state_.load(std::memory_order_acquire);
      if (current == state::ended) return *failed_;
      if (current != state::serving && current != state::closing &&
          state_.compare_exchange_strong(current, state::closing)) {
        state_.notify_one();
      }
      // Again and again, because the guest's thread may not have entered yet.
      machine_.guest_runner().interrupt(errc::cancelled);
    }
  }

  // Of the guest's thread.

  void live() {
    for (;;) {
      state_.wait(state::idle);  // Until there is a call, or the session is closed.
      const auto current = state_.load(std::memory_order_acquire);
      if (current == state::closing) break;
      // The guest went to sleep after it had answered, and the caller has yet to notice. Entering
      // for no call that is pending would be entering without a deadline of one.
      if (current == state::calling && answer().load() == asked_.load()) std::this_thread::yield();
      if (current != state::calling || answer().load() == asked_.load()) continue;
      const std::uint64_t number = asked_.load(std::memory_order_relaxed);
      const bool posted = request().load(std::memory_order_acquire) == number;
      auto stayed = stay();
      // The loop does not leave while there is a request; the function has, by an `out` of its own.
      if (stayed && posted && state_.load() == state::calling && asked_.load() == number &&
          answer().load() != number) {
        stayed = error{.code = errc::bad_reply, .operation = "the guest left without an answer"};
      }
      if (!stayed) {
        ended_with_ = stayed.error();
        break;
      }
    }
    state_.store(state::ended, std::memory_order_release);
  }

  /// Enters the guest; returns when it has gone to sleep.
  result<void> stay() {
    auto stayed = run_guest(machine_, x86::session_function,
                            {.until = until_.load(std::memory_order_relaxed)},
                            [this](guest_exit why) { return serve(why); });
    if (stayed) return stayed;
    error why = stayed.error();
    // The machine was entered before, so that this session's guest did it.
    if (why.code == not_entered) why.code = errc::guest_fault;
    return why;
  }

  result<void> serve(guest_exit why) {
    auto current = state::calling;
    if (!state_.compare_exchange_strong(current, state::serving)) {
      return error{.code = errc::hypercall_denied, .detail = machine_.hypercall_number()};
    }
    const std::uint64_t number = asked_.load(std::memory_order_relaxed);
    if (std::exchange(served_for_, number) != number) served_ = 0;
    result<void> served = error{.code = errc::hypercall_limit, .detail = hypercalls_};
    if (served_++ < hypercalls_) served = serve_quietly(why);
    state_.store(state::calling, std::memory_order_release);
    return served;
  }

  result<void> serve_quietly(guest_exit why) {
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

  machine& machine_;
  session_server& server_;
  const std::size_t frame_offset_;
  std::optional<error> failed_;   // Of the thread that calls.
  std::uint64_t hypercalls_ = 0;  // Written while idle, read while serving.
  std::uint64_t served_for_ = 0;  // Of the guest's thread, as the next one.
  std::uint64_t served_ = 0;      // How many hypercalls that call has made.
  error ended_with_{.code = errc::machine_failure, .operation = "the session was closed"};
  std::exception_ptr thrown_;            // As ended_with_: written before the state is ended.
  std::atomic<std::uint64_t> asked_{0};  // The number of the last call; written while idle.
  std::atomic<interrupter::time_point> until_{interrupter::time_point{}};  // Of that call.
  std::atomic<state> state_{state::idle};
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
