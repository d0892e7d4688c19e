// Serving a guest: what happens when it stops for something other than its end.
// Knows nothing of types, pools or what a policy grants.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/machine_like.hpp>
#include <virtine/result.hpp>
#include <virtine/runner.hpp>
#include <virtine/stop.hpp>
#include <virtine/system_call.hpp>

namespace virtine::detail {

/// Serves what `machine` has stopped for, unless that is its end. An error is to end the call.
template <machine_like Machine, class Policy>
result<void> serve(Machine& machine, stop why, Policy& policy) {
  if constexpr (makes_system_calls<Machine>) {
    if (why == stop::system_call) {
      const system_call call = machine.system_call();
      if (is_exit(call)) return exited_by(call);
      return error{.code = errc::system_call_denied, .detail = call.number};
    }
  }
  return policy.serve(machine.hypercall_number(), machine, machine.hypercall_frame());
}

/// Runs one call on a machine whose frame is written, serving `hypercalls` of its hypercalls and
/// system calls at most by `policy`.
template <machine_like Machine, class Policy>
result<void> execute(Machine& machine, std::uint64_t function, const run_limits& limits,
                     std::uint64_t hypercalls, Policy& policy) {
  auto stopped = machine.enter(function, limits);
  std::uint64_t made = 0;
  while (stopped && *stopped != stop::done) [[unlikely]] {
      result<void> served = error{.code = errc::hypercall_limit, .detail = hypercalls};
      if (made++ < hypercalls) served = serve(machine, *stopped, policy);
      if (!served) {
        machine.abandon();
        return served.why();
      }
      stopped = machine.resume();
    }
  if (!stopped) [[unlikely]]
    return stopped.why();
  return {};
}

}  // namespace virtine::detail
