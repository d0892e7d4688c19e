// A few threads that run pieces of work in the background. Knows nothing of machines or calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

#include <virtine/result.hpp>

namespace virtine {

/// Destroys what threads wait in or run for, but not in a child of fork: there the threads are
/// gone, and a condition variable that they left in use would be waited for.
class unless_forked {
 public:
  [[nodiscard]] bool forked() const { return process_ != getpid(); }
  template <class T>
  void operator()(T* it) const {
    if (!forked()) delete it;
  }

 private:
  pid_t process_ = getpid();
};

namespace detail {
/// Runs `body` where nobody could catch what it throws. Returns what it does; false if it throws.
template <class Body>
bool quietly(Body body) {
#ifdef __cpp_exceptions
  try {
    return body();
  } catch (...) {
    return false;
  }
#else
  return body();
#endif
}
}  // namespace detail

/// Something to be run once. Its owner keeps it until run() begins, which may destroy it.
class work {
 public:
  virtual void run() = 0;  ///< Must not throw.
  work() = default;
  work(const work&) = delete;
  work& operator=(const work&) = delete;

 protected:
  ~work() = default;

 private:
  friend class workers;
  work* next_ = nullptr;
};

/// Runs work in the order in which it came, on threads that are started when they are first needed.
/// To be held by a std::unique_ptr with unless_forked.
class workers {
 public:
  /// At most `most` threads, but one at least and a thousand at most.
  explicit workers(std::size_t most) : most_(std::clamp<std::size_t>(most, 1, 1000)) {
    threads_.reserve(most_);
  }
  workers(const workers&) = delete;
  workers& operator=(const workers&) = delete;
  ~workers() { finish(); }

  /// Queues `what`. Fails only if there is no thread and none can be started, and in a child of
  /// fork. Does not throw.
  result<void> submit(work& what) {
    // Before the lock, which a thread of the parent may have held.
    if (process_ != getpid()) {
      return error{.code = errc::kvm_call,
                   .os_error = EIO,
                   .operation = "a fork does not copy the pool's threads; make pools after it"};
    }
    std::lock_guard lock(mutex_);
    if (queued_ >= waiting_ && threads_.size() < most_ && !finishing_) {
      auto started = start();
      if (!started && threads_.empty()) return started;
    }
    what.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &what;
    last_ = &what;
    ++queued_;
    wake_.notify_one();
    return {};
  }

  /// Waits until all that is queued has run, and ends the threads. After it only work that still
  /// runs may submit more.
  void finish() {
    {
      std::lock_guard lock(mutex_);
      finishing_ = true;
    }
    wake_.notify_all();
    // Nobody adds threads any more, so that they can be looked at without the lock.
    for (pthread_t thread : threads_) pthread_join(thread, nullptr);
    threads_.clear();
  }

 private:
  /// Not std::thread, whose constructor can only throw.
  result<void> start() {
    pthread_t started{};
    const auto enter = [](void* self) -> void* {
      static_cast<workers*>(self)->serve();
      return nullptr;
    };
    // Sound: the thread is joined in finish(), before this object ends.
    const int failed = pthread_create(&started, nullptr, enter, this);
    if (failed != 0) {
      return error{.code = errc::kvm_call,
                   .os_error = failed,
                   .operation = "pthread_create, for a thread of the pool"};
    }
    threads_.push_back(started);
    return {};
  }

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++waiting_;
      wake_.wait(lock, [this] { return first_ != nullptr || finishing_; });
      --waiting_;
      if (first_ == nullptr) return;
      work* const next = first_;
      first_ = next->next_;
      if (first_ == nullptr) last_ = nullptr;
      --queued_;
      lock.unlock();
      next->run();
      lock.lock();
    }
  }

  const pid_t process_ = getpid();
  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable wake_;
  work* first_ = nullptr;  // Guarded by mutex_, as are all below.
  work* last_ = nullptr;
  std::size_t queued_ = 0;
  std::size_t waiting_ = 0;  // Threads that wait for work.
  std::vector<pthread_t> threads_;
  bool finishing_ = false;
};

}  // namespace virtine
