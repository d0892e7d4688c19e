// The limits of one call, and what a program that is interrupted or about to end tells its calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>

#include <virtine/call_usage.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/os/process.hpp>

namespace virtine {

/// The limits of one call.
struct call_options {
  /// How long the call may run, before it fails with errc::timed_out. Handlers and waiting for a
  /// machine count. Making a machine does not count, but the image's initialiser, which runs once,
  /// does. A handler is not stopped. Zero or negative fails immediately; nanoseconds::max() means
  /// no limit.
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
  /// A request to stop makes the call fail with errc::cancelled.
  std::stop_token stop = {};
  /// More hypercalls and system calls than this make the call fail with errc::hypercall_limit.
  std::uint64_t hypercalls = 1'000'000;
  /// For programs whose signal handlers set a flag. Returning true makes the call fail with
  /// errc::cancelled. Must not throw or use the library. Null is never asked.
  ///
  /// It is asked on the calling thread: before the guest is entered, when a signal of the program's
  /// has interrupted the guest, and at least every ten milliseconds while the call waits. A signal
  /// between the question and the guest is noticed only if its handler calls ask_stop_if(). Calls
  /// made with async() do not ask, because signals do not reach the pool's threads.
  bool (*stop_if)() = nullptr;
  /// How much CPU time the calling thread may use from when the guest is entered until it has
  /// ended, before the call fails with errc::cpu_limit: the guest's, the kernel's for it, and that
  /// of handlers. Unlike the timeout it leaves out what other programs take on a busy machine. It
  /// is kept to within about a millisecond. Sessions have none: their calls fail with
  /// errc::bad_argument. nanoseconds::max() means no limit.
  std::chrono::nanoseconds cpu_time = std::chrono::nanoseconds::max();
  /// What the call used is added to this, if it is not null; see there. Sessions as for cpu_time.
  call_usage* usage = nullptr;
};

namespace detail {
/// Returns the limits of a call that starts now and has `timeout` left.
inline run_limits limits_of(const call_options& options, std::chrono::nanoseconds timeout) {
  return {.until = deadline_after(timeout),
          .stop = options.stop,
          .stop_if = options.stop_if,
          .cpu_time = options.cpu_time,
          .usage = options.usage};
}
}  // namespace detail

/// Makes the call that runs on this thread ask its call_options::stop_if again, now or when it next
/// enters the guest. Call it in a signal handler, after setting what stop_if looks at: without it,
/// a signal just before the guest is entered goes unnoticed. Does nothing where no such call runs.
/// Async-signal-safe.
inline void ask_stop_if() noexcept {
  // Sound: the call unsets it, on this thread, before the vCPU's state is unmapped.
  if (kvm_run* const run = detail::asking_vcpu.load(std::memory_order_relaxed))
    static_cast<volatile kvm_run*>(run)->immediate_exit = 1;
}

/// Tells the library that the process is about to end, so that nothing waits for calls under way.
/// From now on the destructors of functions, pools, sessions and pending calls leave what calls use
/// as it is, for the kernel to free.
///
/// Call it before exit() where a call is under way, above all in a handler: exit() destroys what is
/// in static storage, and that would wait for the very call. Calls go on as before. A pool that is
/// shared by functions must be in static storage, or never be destroyed. Async-signal-safe. There
/// is no way back.
inline void abandon_calls() noexcept {
  os::calls_abandoned.store(true, std::memory_order_relaxed);
}

}  // namespace virtine
