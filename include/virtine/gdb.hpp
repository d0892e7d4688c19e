// Calls that gdb can look into. Included by those who debug a guest, and by nothing else.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include <virtine/call/dispatch.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/gdb/connection.hpp>
#include <virtine/gdb/debugged_machine.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/result.hpp>
#include <virtine/virtine_fn.hpp>

namespace virtine::gdb {

/// How a call is debugged.
struct options {
  /// Where gdb connects to: the path of a Unix socket (`target remote /tmp/x.sock`), made with mode
  /// 0600 when the call waits and removed when gdb has come. Empty: `port`.
  std::string socket = {};
  /// A TCP port of the loopback interface (`target remote :1234`). Every user of the machine can
  /// connect to it.
  std::uint16_t port = 0;
  attach when = attach::at_entry;
  /// Waiting for gdb, and for whoever uses it, counts; so there is no limit of time by default.
  call_options limits = {.timeout = std::chrono::nanoseconds::max()};
};

/// A function whose calls wait for gdb; see debug().
template <class Sig, class Entry, class Policy>
class debugged_fn;

template <class R, class... A, class Named, class Policy>
class debugged_fn<R(A...), Named, Policy> {
  using entry = typename virtine::detail::entry_or_none<Named>::type;

 public:
  debugged_fn(virtine_fn<R(A...), Named, Policy>& fn, options how)
      : fn_(fn), how_(std::move(how)) {}

#ifdef __cpp_exceptions
  /// Calls the function. Throws failure if that does not succeed.
  R operator()(A... arguments) const {
    return try_call(arguments...).value();
  }
#endif

  /// Calls the function on a machine of its own, which is destroyed afterwards. Fails as every call
  /// does, with errc::cancelled when the debugger ends the call or hangs up, and with
  /// errc::kvm_call when the place for it to connect to cannot be opened.
  [[nodiscard]] result<R> try_call(A... arguments) const {
    const virtine::detail::marshaller<R(A...)> marshalled(arguments...);
    const virtine::detail::run_limits limits =
        virtine::detail::limits_of(how_.limits, how_.limits.timeout);
    auto made = debugged_machine::create(entry::image::description, limits);
    if (!made) return made.why();
    debugged_machine& guest = **made;
    guest.debug(how_.when, [this] { return listener::open(how_.socket, how_.port); });
    auto ran = marshalled.write(guest.arguments(), guest.arguments_address());
    if (ran) {
      ran = virtine::detail::execute(guest, entry::address, limits, how_.limits.hypercalls,
                                     fn_.policy_);
    }
    guest.tell_end(ran ? nullptr : &ran.why());
    if (!ran) return ran.why();
    return marshalled.read(guest.arguments());
  }

 private:
  virtine_fn<R(A...), Named, Policy>& fn_;
  options how_;
};

/// Returns `fn`, which must outlive it, as a function whose calls gdb can stop and look into, each
/// on a machine of its own: `gdb::debug(square, {.socket = "/tmp/square.sock"})(3)` waits for
/// `target remote /tmp/square.sock`. Handlers of the policy run as in any call. There is none for
/// bare images.
template <class R, class... A, class Named, class Policy>
requires(virtine::detail::entry_or_none<Named>::type::image::description.mode ==
         x86::cpu_mode::user64)
    [[nodiscard]] debugged_fn<R(A...), Named, Policy> debug(virtine_fn<R(A...), Named, Policy>& fn,
                                                            options how) {
  return {fn, std::move(how)};
}

}  // namespace virtine::gdb
