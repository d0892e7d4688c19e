// The CPU time of a thread. Knows nothing of what the thread does.
// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <chrono>
#include <ctime>

namespace virtine::os {

/// The CPU time of one thread of this process.
class cpu_clock {
 public:
  /// Of the calling thread.
  explicit cpu_clock() { static_cast<void>(pthread_getcpuclockid(pthread_self(), &id_)); }
  explicit cpu_clock(clockid_t id) : id_(id) {}

  [[nodiscard]] clockid_t id() const { return id_; }

  /// Any thread may ask. Returns the largest value if the thread has ended.
  [[nodiscard]] std::chrono::nanoseconds now() const {
    timespec read{};
    if (::clock_gettime(id_, &read) != 0) return std::chrono::nanoseconds::max();
    return std::chrono::seconds(read.tv_sec) + std::chrono::nanoseconds(read.tv_nsec);
  }

 private:
  clockid_t id_ = CLOCK_THREAD_CPUTIME_ID;
};

}  // namespace virtine::os
