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
  /// The path of a Unix socket to which gdb connects: `target remote /tmp/x.sock`. It is made with
  /// mode 0600 when the call waits, and removed when gdb has come. If empty, `port` is used.
  std::string socket = {};
  /// A TCP port of the loopback interface (`target remote :1234`). Every user of the machine can
  /// connect to it.
  std::uint16_t port = 0;
  attach when = attach::at_entry;
  /// The limits of the call. They include the time that gdb and its user take, so there is no limit
  /// of time by default.
  call_options limits = {.timeout = std::chrono::nanoseconds::max()};
};

namespace detail {

/// Makes each call on a machine of its own, which a debugger can stop.
template <class Caller, class R, class... A>
class debugged_target final : public virtine::detail::callee<R, A...> {
 public:
  debugged_target(std::shared_ptr<Caller> function, gdb::options how)
      : function_(std::move(function)), how_(std::move(how)) {}

  [[nodiscard]] const call_options& limits() const { return how_.limits; }

  result<R> call(const call_options& options, const A&... arguments) override {
    const virtine::detail::marshaller<R(A...)> marshalled(arguments...);
    if constexpr (requires { marshalled.check(); }) {
      if (auto whole = marshalled.check(); !whole) return whole.error();
    }
    const virtine::detail::run_limits limits = virtine::detail::limits_of(options, options.timeout);
    auto made = debugged_machine::create(function_->pool().image(), limits);
    if (!made) return made.error();
    debugged_machine& guest = **made;
    guest.debug(how_.when, [this] { return listener::open(how_.socket, how_.port); });
    auto ran = guest.lend(marshalled.lent());
    if (ran) ran = marshalled.write(guest.arguments(), guest.arguments_address());
    if (ran) {
      ran = virtine::detail::execute(guest, function_->address(), limits, options.hypercalls,
                                     function_->policy());
    }
    guest.tell_end(ran ? nullptr : &ran.error());
    if (!ran) return ran.error();
    return marshalled.read(guest.arguments());
  }

 private:
  const std::shared_ptr<Caller> function_;
  const gdb::options how_;
};

}  // namespace detail

/// A function whose calls wait for gdb; see debug(). Each call runs on a machine of its own, which
/// is destroyed afterwards. Fails as every call does. Also fails with errc::cancelled when the
/// debugger ends the call or hangs up, and with errc::os_error when the socket or port cannot be
/// opened.
template <class Sig, class Entry, class Policy>
class debugged_fn;

template <class R, class... A, class Named, class Policy>
class debugged_fn<R(A...), Named, Policy>
    : public virtine::detail::callable<
          debugged_fn<R(A...), Named, Policy>,
          detail::debugged_target<virtine::detail::caller<R(A...), Named, Policy>, R, A...>, R,
          A...> {
  using debugged_target =
      detail::debugged_target<virtine::detail::caller<R(A...), Named, Policy>, R, A...>;

 public:
  debugged_fn(const virtine_fn<R(A...), Named, Policy>& fn, gdb::options how)
      : target_(std::make_shared<debugged_target>(fn.target(), std::move(how))) {}

  // Of callable.
  [[nodiscard]] const std::shared_ptr<debugged_target>& target() const { return target_; }
  [[nodiscard]] const call_options& options() const { return target_->limits(); }

 private:
  std::shared_ptr<debugged_target> target_;
};

/// Returns `fn` as a function whose calls gdb can stop and look into, each on a machine of its own.
/// `gdb::debug(square, {.socket = "/tmp/square.sock"})(3)` waits for
/// `target remote /tmp/square.sock`. Handlers of the policy run as in any call. Bare images have no
/// debugger.
template <class R, class... A, class Named, class Policy>
requires(virtine::detail::has_loops<typename virtine::detail::entry_or_none<Named>::type::image>)
    [[nodiscard]] debugged_fn<R(A...), Named, Policy> debug(
        const virtine_fn<R(A...), Named, Policy>& fn, options how) {
  return {fn, std::move(how)};
}

}  // namespace virtine::gdb
