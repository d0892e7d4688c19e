// Serving a guest: what happens when it stops for something other than its end.
// Knows nothing of types, pools or what a policy grants.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/run_loop.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/pool/machine_like.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// Answers the system call that `machine` has stopped for. If the call is interrupted meanwhile
/// there may be no answer, but then the guest does not go on.
template <makes_system_calls Machine, class Policy>
result<void> serve_system_call(Machine& machine, Policy& policy,
                               typename Policy::call_state& open) {
  const system_call call = machine.system_call();
  if (is_exit(call)) return exited_by(call);
  for (;;) {
    const auto given = policy.serve(call, machine, open);
    if (!given) return given.error();
    const bool goes_on = machine.guest_runner().pause(given->wait);
    if (given->again && goes_on) continue;
    machine.answer(given->value);
    return {};
  }
}

/// Serves what `machine` has stopped for, unless that is its end. An error is to end the call.
template <machine_like Machine, class Policy>
result<void> serve(Machine& machine, guest_exit why, Policy& policy,
                   [[maybe_unused]] typename Policy::call_state& open) {
  if constexpr (makes_system_calls<Machine>) {
    if (why == guest_exit::system_call) return serve_system_call(machine, policy, open);
  }
  return policy.serve(machine.hypercall_number(), machine, machine.hypercall_frame());
}

/// Runs one call on a machine whose frame is written, serving `hypercalls` of its hypercalls and
/// system calls at most by `policy`.
template <machine_like Machine, class Policy>
result<void> execute(Machine& machine, std::uint64_t function, const run_limits& limits,
                     std::uint64_t hypercalls, Policy& policy) {
  std::uint64_t made = 0;
  typename Policy::call_state open;
  return run_guest(machine, function, limits, [&](guest_exit why) -> result<void> {
    if (made++ >= hypercalls) return error{.code = errc::hypercall_limit, .detail = hypercalls};
    return serve(machine, why, policy, open);
  });
}

}  // namespace virtine::detail
