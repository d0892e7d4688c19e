// session: calls without an exit, answered by a guest that stays in its machine.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <virtine/call/batch.hpp>
#include <virtine/call/dispatch.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/session_thread.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>
#include <virtine/single_source.hpp>
#include <virtine/virtine_fn.hpp>
#include <virtine/x86/loops.hpp>

namespace virtine {

namespace detail {

template <class Sig>
struct lent_to_session {
  static_assert(
      never<Sig>,
      "virtine [V137]: the guest of a session cannot be lent memory, because it runs "
      "while its calls are made. Call the function itself, or pass a std::span<const T>.");
};
template <class Sig>
struct check_not_lent : std::conditional_t<lent_count<Sig> == 0, accepted, lent_to_session<Sig>> {};

/// What the frames of a session are aligned to.
template <class Marshaller, class Sig>
constexpr std::size_t session_alignment() {
  if constexpr (requires { Marshaller::alignment; })
    return Marshaller::alignment;
  else
    return batch<Sig>::alignment;
}

template <class Caller, class R, class... A>
class session_target final : public callee<R, A...>, session_server<machine> {
  using marshaller = typename Caller::marshaller;
  static constexpr std::uint32_t frame_offset =
      align_up(sizeof(x86::session_mailbox), session_alignment<marshaller, R(A...)>());

 public:
  session_target(std::shared_ptr<Caller> function, const call_options& opening)
      : function_(std::move(function)), opened_(open(opening)) {
    if (opened_) opened_ = settle();
  }
  session_target(const session_target&) = delete;
  session_target& operator=(const session_target&) = delete;
  ~session_target() override {
    if (!guest_) return;
    if (os::abandoned()) {
      static_cast<void>(guest_.release());
      return;
    }
    guest_.reset();
    lent_->give_back(used_);
  }

  result<R> call(const call_options& options, const A&... arguments) override {
    if (!opened_) return opened_.error();
    // First, because a turn that another thread had at a fork never ends in the child.
    if (auto ours = guest_->check_home(); !ours) return ours.error();
    if (options.usage != nullptr || options.cpu_time < std::chrono::nanoseconds::max()) {
      return error{.code = errc::bad_argument,
                   .operation =
                       "calls of a session, whose guest stays, have no call_options::usage "
                       "and no call_options::cpu_time"};
    }
    const turn mine(in_use_);
    if (!mine) return error{.code = errc::session_in_use};
    if (auto usable = guest_->check_usable(); !usable) return usable.error();
    if (auto allowed = Caller::may_begin(options.timeout, options); !allowed) {
      return allowed.error();
    }
    const marshaller marshalled = function_->marshal(arguments...);
    if constexpr (requires { marshalled.check(); }) {
      if (!marshalled.check()) return marshalled.check().error();
    }
    auto written = marshalled.write(guest_->frame(), guest_->frame_address());
    if (!written) {
      error why = written.error();
      why.detail += frame_offset;  // The mailbox takes room, too.
      return why;
    }
    used_ = std::max(used_, frame_offset + marshalled.used());
    auto called = guest_->call(limits_of(options, options.timeout), options.hypercalls);
    if (!called) return called.error();
    // What is looked at is copied once before: the guest runs, and could change it in between.
    const std::size_t size = marshalled.reply_size();
    if (reply_.size() < size) reply_.resize(size);  // Within what settle() has reserved.
    std::memcpy(reply_.data(), guest_->frame().data(), size);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return marshalled.read(reply_, guest_->frame());
  }

 private:
  result<void> open(const call_options& options) {
    static_cast<void>(check_loop<typename Caller::image>{});
    static_cast<void>(check_not_lent<R(A...)>{});
    // One call of nothing on each processor, after which it is known that it can be entered.
    auto limits = function_->ready(lent_, 0, options.timeout, options);
    if (!limits) return limits.error();
    return on_machine(*lent_, *limits, [&](machine& fresh) {
      const auto enter = [&] {
        return execute(fresh, x86::session_nothing, *limits, options.hypercalls,
                       function_->policy());
      };
      auto entered = enter();
      if (!entered || !fresh.has_second()) return entered;
      fresh.use_second(true);
      entered = enter();
      fresh.use_second(false);
      return entered;
    });
  }

  /// Makes the mailbox, and the thread on which the guest is to stay.
  result<void> settle() {
    // Else the room for the frame would have a negative size, which is a huge one.
    if ((*lent_)->arguments().size() < frame_offset) {
      return error{.code = errc::arguments_too_large, .detail = frame_offset};
    }
    const auto stay = [&]() -> result<void> {
      // What a call copies of its reply, so that no call allocates.
      reply_.reserve(marshaller::max_reply_size((*lent_)->arguments().size()));
      session_server<machine>& server = *this;
      guest_ = std::make_unique<session_thread<machine>>(**lent_, function_->address(),
                                                         frame_offset, server);
      return {};
    };
#ifdef __cpp_exceptions
    try {
      return os::or_out_of_memory(stay);
    } catch (const std::system_error& why) {
      return error{.code = errc::os_error,
                   .os_error = why.code().value(),
                   .operation =
                       "no thread can be started for the session's guest; raise the limit of "
                       "processes (ulimit -u, or pids.max of the control group)"};
    }
#else
    return stay();
#endif
  }

  result<void> serve(machine& stopped, guest_exit why) override {
    return detail::serve(stopped, why, function_->policy(), open_);
  }

  /// The right to make a call, while no other is under way.
  class turn {
   public:
    explicit turn(std::atomic<bool>& taken)
        : taken_(taken), mine_(!taken.exchange(true, std::memory_order_acquire)) {}
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn() {
      if (mine_) taken_.store(false, std::memory_order_release);
    }
    explicit operator bool() const { return mine_; }

   private:
    std::atomic<bool>& taken_;
    const bool mine_;
  };

  const std::shared_ptr<Caller> function_;
  std::atomic<bool> in_use_{false};
  std::optional<typename Caller::lease> lent_;
  std::size_t used_ = 0;  // Of the arguments, at most.
  result<void> opened_;
  typename Caller::policy_type::call_state open_;  // Of the thread that runs the guest.
  std::vector<std::byte> reply_;
  std::unique_ptr<session_thread<machine>> guest_;
};

}  // namespace detail

/// A function whose calls share one machine, and its state: a call finds what earlier ones left.
/// The caller's thread runs the guest, for about what a KVM_RUN takes. While calls come fast, the
/// guest stays in the machine on a thread of the session's own and looks for calls in memory: they
/// then cost no exit, and a second core until about a tenth of a millisecond after the last. The
/// session changes between the two by itself, and prefers the first where the second does not pay.
///
/// The calls of a session share one state, variables of the guest included, until it is closed. A
/// call can find what an earlier one left and change what a later one sees. Arguments are not wiped
/// between calls. Everything else is as with virtine_fn: the guest reaches the host only through
/// the policy, and the machine is restored, or destroyed, when the session is closed. Handlers run
/// on the thread that calls or on the session's own, while the other waits. Calls may come from any
/// thread, but one at a time.
///
/// A call that fails ends the session, and all later calls return the same error. What is found
/// before or after the guest runs does not end it: errc::session_in_use, errc::arguments_too_large,
/// a deadline or stop request of before the call, and errc::bad_reply for the value of a result.
///
/// Example: `virtine::session fast(square); int nine = fast(3);`
template <class Sig, class Entry, class Policy = deny_all>
class session;

template <class R, class... A, class Named, class Policy>
class session<R(A...), Named, Policy>
    : public detail::callable<
          session<R(A...), Named, Policy>,
          detail::session_target<detail::caller<R(A...), Named, Policy>, R, A...>, R, A...> {
  using session_target = detail::session_target<detail::caller<R(A...), Named, Policy>, R, A...>;

 public:
  /// Opens a session on a machine of `fn`'s pool, with its policy. `opening` limits this as it
  /// would a call: a machine may have to become free, or to run the image's initialiser. If that
  /// fails, each call returns the error. The destructor closes the session. That takes as long as a
  /// call, or a tenth of a second if the guest does not answer.
  explicit session(const virtine_fn<R(A...), Named, Policy>& fn, const call_options& opening = {})
      : target_(fn.target(), opening) {}
  /// The same for a function that VIRTINE has marked.
  explicit session(const virtine_function<R(A...), Named>& marked, const call_options& opening = {})
      : target_(marked.target(), opening) {}
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  // Of callable. The session must outlive what with() returns.
  [[nodiscard]] std::shared_ptr<session_target> target() const {
    return {std::shared_ptr<void>{}, &target_};
  }
  [[nodiscard]] static const call_options& options() { return detail::default_options; }

 private:
  mutable session_target target_;
};

template <class R, class... A, class Named, class Policy>
session(const virtine_fn<R(A...), Named, Policy>&, const call_options& = {})
    -> session<R(A...), Named, Policy>;
template <class Sig, class Entry>
session(const virtine_function<Sig, Entry>&, const call_options& = {}) -> session<Sig, Entry>;

}  // namespace virtine
