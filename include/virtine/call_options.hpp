// What bounds one call, and what a program that is interrupted or about to end says to those under
// way. Knows nothing of machines or functions.
// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stop_token>

#include <virtine/machine/runner.hpp>
#include <virtine/os/process.hpp>

namespace virtine {

/// The limits of one call.
struct call_options {
  /// How long the call may run, handlers and waiting for a machine included; then it fails with
  /// errc::timed_out. Making a machine does not count, but the image's initialiser, which runs
  /// once, ends by it. A handler is not stopped. Not positive: no time at all; nanoseconds::max():
  /// no limit.
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
  /// A request to stop makes the call fail with errc::cancelled.
  std::stop_token stop = {};
  /// More hypercalls and system calls than this make the call fail with errc::hypercall_limit.
  std::uint64_t hypercalls = 1'000'000;
  /// For programs whose signal handlers set a flag: asked, unless null, on the thread that calls,
  /// before the guest is entered, when a signal of the program's has got the processor out of it,
  /// and every ten milliseconds or more often while the call waits; true makes the call fail with
  /// errc::cancelled. Must not throw or use the library. A signal that comes right between the
  /// question and the guest is heard if its handler calls ask_stop_if(). Not asked by async(), as
  /// signals do not reach the pool's threads.
  bool (*stop_if)() = nullptr;
};

namespace detail {
/// Returns the limits of a call that starts now and may take `timeout` of what it has.
inline run_limits limits_of(const call_options& options, std::chrono::nanoseconds timeout) {
  return {.until = deadline_after(timeout), .stop = options.stop, .stop_if = options.stop_if};
}
}  // namespace detail

/// Has the call that runs on this thread ask its call_options::stop_if, now or when it is next
/// about to enter the guest. For signal handlers, after they have set what stop_if looks at: a
/// signal that comes just before the guest is entered would else not be noticed. May be called at
/// any time; does nothing where no such call runs. Async-signal-safe.
inline void ask_stop_if() noexcept {
  // Sound: the call unsets it, on this thread, before the vCPU's state is unmapped.
  if (kvm_run* const run = detail::asking_vcpu.load(std::memory_order_relaxed))
    static_cast<volatile kvm_run*>(run)->immediate_exit = 1;
}

/// Says that the process is about to end and that nothing is to wait for calls under way: from now
/// on the destructors of functions, pools, sessions and pending calls leave what calls use as it
/// is, for the kernel to free. For programs that call exit() where a call is under way, in a
/// handler above all: exit() destroys what is in static storage, and that would wait for the very
/// call. Calls go on as before. A pool that is no function's own has to be in static storage, or
/// never be destroyed. Async-signal-safe; there is no way back.
inline void abandon_calls() noexcept {
  os::calls_abandoned.store(true, std::memory_order_relaxed);
}

}  // namespace virtine
