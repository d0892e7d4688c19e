// The options of a pool, and its statistics.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

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
  std::size_t max = 64;  ///< Maximum number of machines, and so of concurrent calls.
  /// Number of machines that the pool's own thread makes ahead, from the pool's creation on. It
  /// makes another one when one is discarded. At most `max`.
  std::size_t warm = 0;
  virtine::when_exhausted when_exhausted = virtine::when_exhausted::wait;
  /// A machine that has to restore more pages than this after a call is discarded, and the pool's
  /// own thread makes another. A machine restores a page after every call once a call has written
  /// it.
  std::size_t write_set_max = SIZE_MAX;
  virtine::cleaning cleaning = virtine::cleaning::on_return;
  /// A machine that was idle for this long is destroyed by the pool's own thread, unless it is one
  /// of the last `warm`; at the latest after twice the time. The thread looks once in this time.
  std::chrono::nanoseconds idle_timeout = std::chrono::nanoseconds::max();
  /// Once `max` machines were made at once, no more than this are made in a second; 0 is no limit.
  /// Calls that fail use up machines, so this is what a crash loop can cost. A call that needs a
  /// new one waits for its turn, or fails, as `when_exhausted` says.
  std::size_t made_per_second = 0;
  /// A machine that has run this many calls is destroyed, and the pool's own thread makes another.
  /// each() counts a call for each job; together() and a session count one.
  std::uint64_t max_calls = UINT64_MAX;
  /// How many machines share one VM of KVM's, at most 512. By default each has its own. Machines
  /// that share one are made in less time and take less memory, but what keeps them apart is then
  /// their page tables and CPL 3 alone, and no longer the processor's second layer of page tables
  /// (EPT, NPT) or the memory that KVM knows of: docs/threat-model.md. Fewer share one if they had
  /// more than 64 GiB together. Calls that are lent memory, and those of bare images, fail with
  /// errc::bad_argument if this is more than 1.
  std::size_t machines_per_vm = 1;
  std::size_t workers = 2;  ///< Threads that run calls made with async(); 1 to 1000.
};

/// What a pool holds, and what it did so far. The numbers are read one by one, so together they may
/// fit no single moment.
struct pool_stats {
  std::size_t machines = 0;     ///< Existing, in use or not.
  std::size_t idle = 0;         ///< Ready for a call.
  std::uint64_t created = 0;    ///< Ever made.
  std::uint64_t discarded = 0;  ///< Destroyed after a failed call, or one that wrote too much, or
                                ///< their last of pool_options::max_calls.
  std::uint64_t forgotten = 0;  ///< Destroyed after pool_options::idle_timeout.
  std::uint64_t waits = 0;      ///< Calls that waited for a machine, or for leave to make one.
  // Of cleaning::in_background:
  std::uint64_t cleaned = 0;                  ///< Machines wiped by the pool's own thread.
  std::chrono::nanoseconds cleaning_time{0};  ///< Time that took in total.
};

}  // namespace virtine
