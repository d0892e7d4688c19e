// The result of a call that runs on another thread.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/os/process.hpp>
#include <virtine/os/workers.hpp>
#include <virtine/result.hpp>

namespace virtine {

namespace detail {

/// What a call and whoever waits for it share.
template <class R>
class outcome {
 public:
  virtual ~outcome() = default;

  /// Sets what came of the call: a reply, or an exception.
  void set(std::optional<result<R>> reply, std::exception_ptr thrown) {
    std::lock_guard lock(mutex_);
    reply_ = std::move(reply);
    thrown_ = std::move(thrown);
    done_.store(true, std::memory_order_release);
    signal();
    changed_.notify_all();
  }

  [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done(); });
  }

  /// Once done(); without a lock, as nothing changes any more but by who asks. An exception is
  /// given away, so that it ends where it is caught.
  result<R> reply() {
#ifdef __cpp_exceptions
    if (thrown_) {
      reply_.emplace(error{.code = errc::machine_failure, .operation = "a handler threw"});
      std::rethrow_exception(std::exchange(thrown_, nullptr));
    }
#endif
    return *reply_;
  }

  result<int> event_fd() {
    std::lock_guard lock(mutex_);
    if (!event_) {
      event_ = os::fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      if (!event_) return os::explain("eventfd", errno);
      if (done()) signal();
    }
    if (!event_) return os::explain("eventfd", errno);
    return event_.get();
  }

  /// Keeps this for good, in a child of fork: threads that are gone there may wait in it, or have
  /// locked what it consists of. `self` is what holds it.
  void leave_behind(std::shared_ptr<outcome> self) {
    event_ = os::fd();
    left_behind_ = std::move(self);
  }

  std::stop_source cancelling;

 private:
  void signal() {
    constexpr std::uint64_t one = 1;
    // It counts from 0 and is written once, so that this cannot fail.
    if (event_ && ::write(event_.get(), &one, sizeof one) < 0) event_ = os::fd();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<result<R>> reply_;  // Guarded by mutex_, as are all below.
  std::exception_ptr thrown_;
  os::fd event_;
  std::atomic<bool> done_{false};
  std::shared_ptr<outcome> left_behind_;  // Holds itself.
};

/// A call as work. Keeps itself until it has run.
template <class R, class Call>
class pending_call final : public outcome<R>, public os::work {
 public:
  pending_call(Call call, const std::stop_token& stop)
      : call_(std::move(call)), on_stop_(stop, canceller{this->cancelling}) {}

  result<void> start(os::workers& on, std::shared_ptr<pending_call> self) {
    self_ = std::move(self);
    auto submitted = on.submit(*this);
    if (!submitted) self_.reset();
    return submitted;
  }

  void run() override {
    const auto self = std::move(self_);
    std::optional<result<R>> reply;
    std::exception_ptr thrown;
#ifdef __cpp_exceptions
    try {
      reply.emplace(call_(this->cancelling.get_token()));
    } catch (...) {
      thrown = std::current_exception();
    }
#else
    reply.emplace(call_(this->cancelling.get_token()));
#endif
    this->set(std::move(reply), std::move(thrown));
  }

 private:
  struct canceller {
    std::stop_source source;
    void operator()() { source.request_stop(); }
  };

  Call call_;
  std::stop_callback<canceller> on_stop_;
  std::shared_ptr<pending_call> self_;
};

}  // namespace detail

/// A call that runs, or will run, on another thread. Its destructor waits for the call; cancel() it
/// first if the result is of no interest. What spans among the arguments refer to must live until
/// the call is done. One thread at a time may use it.
///
/// In a child of fork it has the result if the call was done at the fork. Otherwise nobody runs the
/// call there, and the result is errc::machine_failure.
template <class R>
class [[nodiscard]] pending {
 public:
  /// Runs `call`, which takes a stop_token and returns result<R>, on one of the threads of `on`.
  /// Fails with errc::os_error if no thread can be started or memory is short.
  template <class Call>
  static pending start(os::workers& on, const std::stop_token& stop, Call call) {
    std::shared_ptr<detail::pending_call<R, Call>> made;
    const auto ready = os::or_out_of_memory([&]() -> result<void> {
      made = std::make_shared<detail::pending_call<R, Call>>(std::move(call), stop);
      return {};
    });
    if (!ready) return pending(nullptr);
    if (auto started = made->start(on, made); !started) made->set(started.error(), nullptr);
    return pending(std::move(made));
  }

  pending(pending&& other) noexcept = default;
  pending& operator=(pending&& other) noexcept {
    const pending old(std::move(*this));
    state_ = std::move(other.state_);
    home_ = other.home_;
    return *this;
  }
  ~pending() {
    if (!state_) return;
    if (home_.forked()) {
      state_->leave_behind(state_);
    } else if (!os::abandoned()) {
      state_->wait();
    }
  }

#ifdef __cpp_exceptions
  /// Waits for the call and returns its result. Throws failure if it did not succeed.
  R get() {
    return try_get().value();
  }
#endif

  /// Waits for the call and returns its result or error. If a handler threw, throws that once; from
  /// then on the error is errc::machine_failure.
  [[nodiscard]] result<R> try_get() {
    wait();
    if (!state_) return os::out_of_memory();
    if (!state_->done()) return not_ours();
    return state_->reply();
  }

  /// Waits until the call is done. The call, and those before it, end by their own limits once a
  /// thread has taken them up.
  void wait() {
    if (!ready()) state_->wait();
  }

  /// Returns whether the call is done. If so, no member of this class waits.
  [[nodiscard]] bool ready() {
    return !state_ || state_->done() || home_.forked();
  }

  /// Makes the call fail with errc::cancelled, unless it is already done; see call_options::stop. A
  /// call that no thread has taken up yet is done when a thread gets to it.
  void cancel() {
    if (!ready()) state_->cancelling.request_stop();
  }

  /// Returns a descriptor for poll and epoll, which becomes readable when the call is done, and
  /// stays so. This object closes it. Fails with errc::os_error if there can be no more
  /// descriptors, and with errc::machine_failure in a child of fork.
  [[nodiscard]] result<int> event_fd() {
    if (!state_) return os::out_of_memory();
    if (home_.forked()) return not_ours();
    return state_->event_fd();
  }

 private:
  explicit pending(std::shared_ptr<detail::outcome<R>> state) : state_(std::move(state)) {}

  static error not_ours() {
    return os::of_a_parent("a call that the parent of this process made before the fork");
  }

  std::shared_ptr<detail::outcome<R>> state_;  // Null after a move from here, or without memory.
  os::home_process home_;
};

}  // namespace virtine
