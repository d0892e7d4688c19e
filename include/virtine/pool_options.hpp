// What a pool is to do, and what it says it did. Knows nothing of how.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace virtine {

/// What a call does when every machine of the pool is in use and no more may be made.
enum class when_exhausted : std::uint8_t {
  fail,    ///< Fails with errc::pool_exhausted.
  wait,    ///< Waits for one, as long as the call's timeout and stop_token let it.
  create,  ///< Makes one for this call only, beyond pool_options::max.
};

/// When a machine is wiped.
enum class cleaning : std::uint8_t {
  on_return,      ///< By the thread that called, before its call returns.
  in_background,  ///< By the pool's own thread, whose waking costs as much as some 100 pages.
};

/// How many machines a pool holds, and how it keeps them.
struct pool_options {
  std::size_t max = 64;  ///< Machines, so also calls at one time, but for when_exhausted::create.
  /// This many machines are made by a thread of the pool's own, from the pool's creation on, and
  /// made again when one is discarded. At most `max`.
  std::size_t warm = 0;
  virtine::when_exhausted when_exhausted = virtine::when_exhausted::wait;
  /// A machine that has to restore more pages than this after a call is discarded, and another one
  /// made in its place by the pool's own thread. A page once written is restored ever after.
  std::size_t write_set_max = SIZE_MAX;
  virtine::cleaning cleaning = virtine::cleaning::on_return;
  std::size_t workers = 2;  ///< Threads that run calls made with async(); 1 to 1000.
};

/// What a pool holds, and what it did so far. Each number is right for some moment.
struct pool_stats {
  std::size_t machines = 0;     ///< That exist, in use or not.
  std::size_t idle = 0;         ///< That are ready for a call.
  std::uint64_t created = 0;    ///< Also those that exist no more.
  std::uint64_t discarded = 0;  ///< After a failed call, or one that wrote too much.
  std::uint64_t waits = 0;      ///< Calls that waited for a machine.
  // Of cleaning::in_background:
  std::uint64_t cleaned = 0;                  ///< Machines wiped by the pool's own thread.
  std::chrono::nanoseconds cleaning_time{0};  ///< How long it took for all of them.
};

}  // namespace virtine
