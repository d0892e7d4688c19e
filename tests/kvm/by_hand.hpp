// Calls on a machine that a test holds itself, without a pool.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/call/marshal.hpp>
#include <virtine/machine/machine.hpp>

namespace by_hand {

template <class Sig>
struct caller;

template <class R, class... A>
struct caller<R(A...)> {
  static virtine::result<R> call(virtine::detail::machine& machine, std::uint64_t function,
                                 bool restores, const A&... arguments) {
    const virtine::detail::marshaller<R(A...)> marshalled(arguments...);
    auto written = marshalled.write(machine.arguments(), machine.arguments_address());
    if (!written) return written.error();
    const auto stopped = machine.enter(function, {});
    if (!stopped) return stopped.error();
    auto reply = marshalled.read(machine.arguments());
    if (restores) machine.restore(marshalled.used());
    return reply;
  }
};

/// Calls Entry, which makes no hypercalls, on `machine` and restores it.
template <class Sig, class Entry, class... A>
auto call(virtine::detail::machine& machine, A... arguments) {
  return caller<Sig>::call(machine, Entry::address, true, arguments...);
}

/// The same, and restores nothing.
template <class Sig, class Entry, class... A>
auto leave(virtine::detail::machine& machine, A... arguments) {
  return caller<Sig>::call(machine, Entry::address, false, arguments...);
}

}  // namespace by_hand
