// A few threads that run pieces of work in the background. Knows nothing of machines or calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <vector>

#include <virtine/os/block_signals.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::os {

/// Something to be run once. Its owner keeps it until run() begins, which may destroy it.
class work {
 public:
  virtual void run() = 0;  ///< Must not throw.
  work() = default;
  work(const work&) = delete;
  work& operator=(const work&) = delete;

 protected:
  virtual ~work() = default;  // Virtual for -Wnon-virtual-dtor, which counts friends as users.

 private:
  friend class workers;
  work* next_ = nullptr;
};

/// Runs work in the order in which it came, on threads that are started when they are first needed,
/// and block signals. A child of fork has none of them, and may not even destroy this: hold it in a
/// per_process.
class workers {
 public:
  /// At most `max` threads, but one at least and a thousand at most.
  explicit workers(std::size_t max) : max_(within_bounds(max)) {}
  workers(const workers&) = delete;
  workers& operator=(const workers&) = delete;
  ~workers() { finish(); }

  /// Has at most `max` threads from now on; those beyond a lower number stay.
  void allow(std::size_t max) {
    std::lock_guard lock(mutex_);
    max_ = within_bounds(max);
  }

  /// Queues `what`. Fails only if there is no thread and none can be started. Does not throw.
  result<void> submit(work& what) {
    std::lock_guard lock(mutex_);
    if (queued_ >= waiting_ && threads_.size() < max_ && !finishing_) {
      auto started = os::or_out_of_memory([this] { return start(); });
      if (!started && threads_.empty()) return started;
    }
    what.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &what;
    last_ = &what;
    ++queued_;
    wake_.notify_one();
    return {};
  }

  /// Waits until all that is queued has run, each call by its own limits, and ends the threads.
  /// After it only work that still runs may submit more.
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
  static std::size_t within_bounds(std::size_t max) {
    return std::clamp<std::size_t>(max, 1, 1000);
  }

  /// Not std::thread, whose constructor can only throw.
  result<void> start() {
    threads_.reserve(threads_.size() + 1);
    pthread_t started{};
    const auto enter = [](void* self) -> void* {
      static_cast<workers*>(self)->serve();
      return nullptr;
    };
    const os::block_signals meanwhile;
    // Sound: the thread is joined in finish(), before this object ends.
    const int failed = pthread_create(&started, nullptr, enter, this);
    if (failed != 0) {
      return error{.code = errc::os_error,
                   .os_error = failed,
                   .operation =
                       "no thread can be started for the pool; raise the limit of processes "
                       "(ulimit -u, or pids.max of the control group)"};
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

  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t max_;  // Guarded by mutex_, as are all below.
  work* first_ = nullptr;
  work* last_ = nullptr;
  std::size_t queued_ = 0;
  std::size_t waiting_ = 0;  // Threads that wait for work.
  std::vector<pthread_t> threads_;
  bool finishing_ = false;
};

}  // namespace virtine::os
