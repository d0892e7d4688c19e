// virtine_fn<Sig, Entry, Policy>: a function of an image, called like any other.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

#include <virtine/abi/checks.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/call/batch.hpp>
#include <virtine/call/dispatch.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/call/machine_like.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/call_options.hpp>
#include <virtine/image.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/pending.hpp>
#include <virtine/policy.hpp>
#include <virtine/pool.hpp>
#include <virtine/result.hpp>

namespace virtine {

namespace gdb {
template <class, class, class>
class debugged_fn;
}

/// Names a function and its entry; virtine_fn can be made of it instead of types.
template <class Sig, class Entry>
struct function_entry {};

/// A function that runs in a virtual machine. `Sig` is its type, `Entry` a generated entry or an
/// image with a single one, `Policy` the type of the policy that serves its hypercalls.
///
/// Each call runs on a machine whose state is that of the image's snapshot, whatever earlier calls
/// did. Calls may be made from any number of threads. The arguments are copied in, outputs (spans
/// of non-const elements) are copied back when all went well. Costs one KVM_RUN on a machine that
/// was used before, and the creation of a machine, about twenty times that, if none is idle.
///
/// Example: `virtine::virtine_fn<int(int), guests::square> square; int nine = square(3);`
template <class Sig, class Entry, class Policy = deny_all>
class virtine_fn {
  static_assert(detail::never<Sig>,
                "virtine [V116]: the first argument of virtine_fn is not the type of a function. "
                "Write the result and, in parentheses, the arguments: int(int).");
};

/// `noexcept` is part of a function's type and says nothing of a call.
template <class R, class... A, class Entry, class Policy>
class virtine_fn<R(A...) noexcept, Entry, Policy> : public virtine_fn<R(A...), Entry, Policy> {
  using virtine_fn<R(A...), Entry, Policy>::virtine_fn;
};

template <class R, class... A, class Named, class Policy>
class virtine_fn<R(A...), Named, Policy> : detail::check_signature<R(A...)>,
                                           detail::check_entry<R(A...), Named, Policy> {
  using entry = typename detail::entry_or_none<Named>::type;
  using marshaller = detail::marshaller<R(A...)>;
  using batch_results = typename detail::replies<R>::taken;

 public:
  using image = typename entry::image;

  /// Uses a pool of its own. Opens nothing yet; the first call may fail with errc::no_kvm.
  virtine_fn() requires std::is_default_constructible_v<Policy> : virtine_fn(Policy{}) {}
  explicit virtine_fn(Policy policy)
      : policy_(std::move(policy)), pool_(new virtine::pool<image>, unless_abandoned) {}

  /// Uses `pool`, which must outlive this.
  explicit virtine_fn(virtine::pool<image>& pool, Policy policy = {})
      : policy_(std::move(policy)), pool_(std::shared_ptr<void>{}, &pool) {}

  explicit virtine_fn(function_entry<R(A...), Named>, Policy policy = {})
      : virtine_fn(std::move(policy)) {}
  virtine_fn(function_entry<R(A...), Named>, virtine::pool<image>& pool, Policy policy = {})
      : virtine_fn(pool, std::move(policy)) {}

#ifdef __cpp_exceptions
  /// Calls the function. Throws failure if that does not succeed.
  R operator()(A... arguments) {
    return call({}, arguments...).value();
  }
#endif

  /// Calls the function; returns its result or what went wrong, a lack of memory too. Throws only
  /// what a handler throws.
  [[nodiscard]] result<R> try_call(A... arguments) {
    return call({}, arguments...);
  }

  /// Calls the function on a thread of the pool's, of which there are pool_options::workers;
  /// handlers run there too. The arguments are copied, but not what spans refer to. The call's time
  /// begins when a thread takes it up. Until it is done this object must stay where it is: with a
  /// pool of its own, which no copy of it shares, the destructor waits for that.
  pending<R> async(A... arguments) {
    return start({}, arguments...);
  }

  /// Calls the function once for each element of `jobs`: its argument, or a tuple of all of them.
  /// Each call finds a fresh state, as by try_call; one that fails does not stop the others.
  /// Returns their results in the same order. Holds one machine all the while. Throws failure only
  /// if there is no memory for the results themselves.
  template <std::ranges::input_range Jobs>
  [[nodiscard]] std::vector<result<R>> each(Jobs&& jobs) {
    return call_each({}, jobs);
  }

  /// Calls the function once for each element of `jobs`, many in one stay in the guest. The calls
  /// of a batch share one state and can read and change each other's arguments and results: use it
  /// for jobs that may know of each other. As many jobs as argument memory holds are a batch, and
  /// each batch finds a fresh state. Returns all results in order, or what went wrong first and, in
  /// error::job, where; spans of jobs before that one may have been written. The timeout is for all
  /// jobs together, the limit of hypercalls for each batch.
  template <std::ranges::forward_range Jobs>
  [[nodiscard]] result<batch_results> together(Jobs&& jobs) {
    return call_together({}, jobs);
  }

  /// The function with limits of its own for each call.
  class limited {
   public:
#ifdef __cpp_exceptions
    R operator()(A... arguments) const {
      return fn_.call(options_, arguments...).value();
    }
#endif
    [[nodiscard]] result<R> try_call(A... arguments) const {
      return fn_.call(options_, arguments...);
    }
    pending<R> async(A... arguments) const {
      return fn_.start(options_, arguments...);
    }
    template <std::ranges::input_range Jobs>
    [[nodiscard]] std::vector<result<R>> each(Jobs&& jobs) const {
      return fn_.call_each(options_, jobs);
    }
    template <std::ranges::forward_range Jobs>
    [[nodiscard]] result<batch_results> together(Jobs&& jobs) const {
      return fn_.call_together(options_, jobs);
    }

   private:
    friend virtine_fn;
    limited(virtine_fn& fn, call_options options) : fn_(fn), options_(std::move(options)) {}
    virtine_fn& fn_;
    call_options options_;
  };

  /// Returns how often calls have used the policy, and what it denied them. A copy of the function
  /// counts for itself.
  [[nodiscard]] virtine::policy_usage policy_usage() const {
    return policy_.usage();
  }

  /// Returns this function with other limits: `fn.with({.timeout = 50ms})(3)`.
  [[nodiscard]] limited with(call_options options) {
    return {*this, std::move(options)};
  }

 private:
  template <class, class, class>
  friend class session;
  template <class, class, class>
  friend class gdb::debugged_fn;

  /// See abandon_calls().
  static void unless_abandoned(virtine::pool<image>* last) {
    if (!os::abandoned()) delete last;
  }

  using machine_type = detail::machine_of<image>;
  using lease = typename virtine::pool<image>::lease;

  result<R> call(const call_options& options, const A&... arguments) {
    const marshaller marshalled(arguments...);
    std::chrono::nanoseconds timeout = options.timeout;
    auto lent = borrow(timeout, options);
    if (!lent) [[unlikely]]
      return lent.why();
    const detail::run_limits limits = detail::limits_of(options, timeout);
    result<R> reply = call_on(*lent, marshalled, limits, options.hypercalls);
    lent->give_back(marshalled.used());
    return reply;
  }

  pending<R> start(const call_options& options, const A&... arguments) {
    return pending<R>::start(pool_->callers(), options.stop,
                             [this, options, arguments...](std::stop_token stop) {
                               call_options limits = options;
                               limits.stop = std::move(stop);
                               limits.stop_if = nullptr;
                               return call(limits, arguments...);
                             });
  }

  template <class Jobs>
  std::vector<result<R>> call_each(const call_options& options, Jobs& jobs) {
    static_cast<void>(detail::check_job<std::ranges::range_reference_t<Jobs>, A...>{});
    std::vector<result<R>> results;
    if constexpr (std::ranges::sized_range<Jobs>) make_room(results, std::ranges::size(jobs));
    std::optional<lease> lent;
    std::size_t used = 0;
    for (auto&& job : jobs) {
      if (results.size() == results.capacity()) make_room(results, 2 * results.size() + 1);
      results.push_back(detail::with_arguments<A...>(job, [&](const A&... arguments) -> result<R> {
        const marshaller marshalled(arguments...);
        auto limits = ready(lent, used, options.timeout, options);
        if (!limits) return limits.why();
        used = marshalled.used();
        return call_on(*lent, marshalled, *limits, options.hypercalls);
      }));
    }
    if (lent) lent->give_back(used);
    return results;
  }

  /// There is no result yet in which a lack of memory could be told, so it is thrown.
  static void make_room(std::vector<result<R>>& results, std::size_t count) {
#ifdef __cpp_exceptions
    os::or_out_of_memory([&]() -> result<void> {
      results.reserve(count);
      return {};
    }).value();
#else
    results.reserve(count);
#endif
  }

  template <class Jobs>
  result<batch_results> call_together(const call_options& options, Jobs& jobs) {
    static_cast<void>(detail::check_job<std::ranges::range_reference_t<Jobs>, A...>{});
    static_cast<void>(detail::check_loop<image>{});
    detail::replies<R> replies;
    if constexpr (std::ranges::sized_range<Jobs>) {
      if (auto room = replies.reserve(std::ranges::size(jobs)); !room) return room.why();
    }
    const auto until = detail::deadline_after(options.timeout);
    auto rest = options.timeout;
    std::optional<lease> lent;
    std::size_t used = 0;
    auto next = std::ranges::begin(jobs);
    const auto end = std::ranges::end(jobs);
    result<void> ran;
    while (ran && next != end) {
      auto limits = ready(lent, used, rest, options);
      if (!limits) {
        ran = limits.why();
        break;
      }
      ran = on_machine(*lent, [&](machine_type& machine) {
        return run_batch(machine, next, end, replies, used, *limits, options.hypercalls);
      });
      rest = until - detail::monotonic::now();
    }
    if (lent) lent->give_back(used);
    if (!ran) return ran.why();
    return std::move(replies).take();
  }

  /// Runs as many jobs from `next` on as there is room for, and moves it on.
  template <class Next, class End>
  result<void> run_batch(machine_type& machine, Next& next, const End& end,
                         detail::replies<R>& replies, std::size_t& used,
                         const detail::run_limits& limits, std::uint64_t hypercalls) {
    detail::batch<R(A...)> batch(machine.arguments(), machine.arguments_address(), entry::address);
    Next last = next;
    for (result<void> added; last != end; ++last) {
      added = detail::with_arguments<A...>(*last, [&](const A&... arguments) {
        return batch.add(marshaller(arguments...), replies.size() + batch.count());
      });
      if (!added && batch.count() == 0) return added;
      if (!added) break;
    }
    used = batch.used();
    auto ran = detail::execute(machine, x86::batch_function, limits, hypercalls, policy_);
    if (ran) ran = batch.check_completed();
    if (!ran) return detail::of_job(ran.why(), batch.running(replies.size()));
    for (batch.rewind(); next != last; ++next) {
      auto taken = detail::with_arguments<A...>(*next, [&](const A&... arguments) {
        return replies.add(batch.take(marshaller(arguments...)));
      });
      if (!taken) return taken;
    }
    return {};
  }

  result<R> call_on(lease& lent, const marshaller& marshalled, const detail::run_limits& limits,
                    std::uint64_t hypercalls) {
    return on_machine(lent, [&](machine_type& machine) -> result<R> {
      auto written = marshalled.write(machine.arguments(), machine.arguments_address());
      if (!written) [[unlikely]]
        return written.why();
      auto ran = detail::execute(machine, entry::address, limits, hypercalls, policy_);
      if (!ran) [[unlikely]]
        return ran.why();
      return marshalled.read(machine.arguments());
    });
  }

  /// Fails if a call is over before it begins, so that no machine is spent on it.
  static result<void> may_begin(std::chrono::nanoseconds timeout, const call_options& options) {
    if (timeout <= timeout.zero()) [[unlikely]]
      return error{.code = errc::timed_out};
    if (options.stop.stop_requested()) [[unlikely]]
      return error{.code = errc::cancelled};
    return {};
  }

  /// Borrows a machine for a call that may take `timeout`, from which waiting for it is taken off.
  result<lease> borrow(std::chrono::nanoseconds& timeout, const call_options& options) {
    if (auto allowed = may_begin(timeout, options); !allowed) [[unlikely]]
      return allowed.why();
    auto lent = pool_->borrow(timeout, options.stop, options.stop_if);
    if (lent) timeout -= lent->waited();
    return lent;
  }

  /// Makes `lent` hold a machine as the snapshot has it: the one it holds, after a run that used
  /// `used_before` bytes of arguments, or another. Returns the limits of the next run.
  result<detail::run_limits> ready(std::optional<lease>& lent, std::size_t used_before,
                                   std::chrono::nanoseconds timeout, const call_options& options) {
    if (lent && !*lent) lent.reset();
    if (!lent) {
      auto borrowed = borrow(timeout, options);
      if (!borrowed) return borrowed.why();
      lent.emplace(*std::move(borrowed));
    } else if (auto allowed = may_begin(timeout, options); !allowed) {
      return allowed.why();
    } else if ((*lent)->poisoned()) {
      if (auto replaced = lent->replace(); !replaced) return replaced.why();
    } else {
      (*lent)->restore(used_before);
    }
    return detail::limits_of(options, timeout);
  }

  /// Returns what `run` does on the machine of `lent`.
  template <class Run>
  static auto on_machine(lease& lent, const Run& run) -> decltype(run(*lent)) {
    auto reply = run(*lent);
    if (reply || reply.why().code != errc::not_entered) [[likely]]
      return reply;
    return again(lent, run);
  }

  /// Runs once more, because what the call before left behind must not be this one's failure. A new
  /// machine tells whether the host or this call's function did it.
  template <class Run>
  static auto again(lease& lent, const Run& run) -> decltype(run(*lent)) {
    if (auto replaced = lent.replace(); !replaced) return replaced.why();
    return run(*lent);
  }

  [[no_unique_address]] std::remove_const_t<Policy> policy_;
  std::shared_ptr<virtine::pool<image>> pool_;  // Last: it waits for calls, which use the policy.
};

}  // namespace virtine
