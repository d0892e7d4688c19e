// The one loop in which a guest runs, stops, is served and goes on. Knows nothing of who serves it.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// Runs the guest of `machine` from `function` until it is done. Each time it stops for something
/// else, `serve(guest_exit)` answers it; an error from that ends the call and is returned.
template <class Machine, class Serve>
result<void> run_guest(Machine& machine, std::uint64_t function, const run_limits& limits,
                       const Serve& serve) {
  auto stopped = machine.enter(function, limits);
  while (stopped && *stopped != guest_exit::done) [[unlikely]] {
      if (result<void> served = serve(*stopped); !served) {
        machine.abandon();
        return served;
      }
      stopped = machine.resume();
    }
  if (!stopped) [[unlikely]]
    return stopped.error();
  return {};
}

}  // namespace virtine::detail
