// Calls of one function of an image: by a policy, on machines of a pool. What virtine_fn, sessions
// and the debugger share.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include <virtine/call/batch.hpp>
#include <virtine/call/callable.hpp>
#include <virtine/call/dispatch.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/call_options.hpp>
#include <virtine/image.hpp>
#include <virtine/lent.hpp>
#include <virtine/os/process.hpp>
#include <virtine/pending.hpp>
#include <virtine/pool.hpp>
#include <virtine/pool/machine_like.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// What writes the arguments and reads the reply of calls of an Entry: the entry's own, or as the
/// types of Sig say.
template <class Sig, class Entry>
struct marshaller_for {
  using type = marshaller<Sig>;
};
template <class Sig, class Entry>
requires requires {
  typename Entry::marshaller;
}
struct marshaller_for<Sig, Entry> {
  using type = typename Entry::marshaller;
};

template <class Sig, class Entry, class Policy>
class caller;

/// Destroys the caller that nothing refers to any more; see abandon_calls().
template <class Caller>
void delete_unless_abandoned(Caller* last) {
  if (!os::abandoned()) delete last;
}

/// Calls `Entry`, of type R(A...), on machines of a pool, and serves them by a policy. Thread-safe.
template <class R, class... A, class Named, class Policy>
class caller<R(A...), Named, Policy> final
    : public async_callee<R, A...>,
      public std::enable_shared_from_this<caller<R(A...), Named, Policy>> {
  using batch_results = typename replies<R>::taken;

 public:
  using entry = typename entry_or_none<Named>::type;
  using image = typename entry::image;
  using machine_type = machine_of<image>;
  using pool_type = pool_of<image>;
  using lease = typename pool_type::lease;
  using policy_type = std::remove_const_t<Policy>;
  using marshaller = typename marshaller_for<R(A...), entry>::type;

  /// With a pool of its own, which is made of `its`.
  template <class... Its>
  caller(entry function, Policy policy, std::in_place_t, Its&&... its)
      : function_(std::move(function)),
        policy_(std::move(policy)),
        own_(std::in_place, std::forward<Its>(its)...),
        pool_(*own_) {}
  /// `pool` must outlive this.
  caller(entry function, Policy policy, pool_type& pool)
      : function_(std::move(function)), policy_(std::move(policy)), pool_(pool) {}

  [[nodiscard]] std::uint64_t address() const { return function_.address; }
  [[nodiscard]] pool_type& pool() { return pool_; }
  [[nodiscard]] policy_type& policy() { return policy_; }

  /// Returns what writes these arguments, to which it refers, and reads the reply.
  marshaller marshal(const A&... arguments) const {
    if constexpr (requires { typename entry::marshaller; }) {
      return marshaller(function_, arguments...);
    } else {
      return marshaller(arguments...);
    }
  }

  result<R> call(const call_options& options, const A&... arguments) override {
    const marshaller marshalled = marshal(arguments...);
    if constexpr (requires { marshalled.check(); }) {
      if (!marshalled.check()) return marshalled.check().error();
    }
    std::chrono::nanoseconds timeout = options.timeout;
    auto lent = borrow(timeout, options);
    if (!lent) [[unlikely]]
      return lent.error();
    const run_limits limits = limits_of(options, timeout);
    result<R> reply = call_on(*lent, marshalled, limits, options.hypercalls);
    lent->give_back(marshalled.used());
    return reply;
  }

  pending<R> start(const call_options& options, const A&... arguments) override {
    // A pool of its own waits for this call, and must not be destroyed by it. Another's does not.
    std::shared_ptr<caller> kept = own_ ? nullptr : this->shared_from_this();
    return pending<R>::start(pool_.callers(), options.stop,
                             [this, kept, options, arguments...](std::stop_token stop) {
                               call_options limits = options;
                               limits.stop = std::move(stop);
                               limits.stop_if = nullptr;
                               return call(limits, arguments...);
                             });
  }

  template <class Jobs>
  std::vector<result<R>> call_each(const call_options& options, Jobs& jobs) {
    std::optional<lease> lent;
    std::size_t used = 0;
    auto results = for_each_job<R, A...>(jobs, [&](const A&... arguments) -> result<R> {
      const marshaller marshalled(arguments...);
      if constexpr (lends) {
        if (auto whole = marshalled.check(); !whole) return whole.error();
      }
      auto limits = ready(lent, used, options.timeout, options);
      if (!limits) return limits.error();
      used = marshalled.used();
      return call_on(*lent, marshalled, *limits, options.hypercalls);
    });
    if (lent) lent->give_back(used);
    return results;
  }

  template <class Jobs>
  result<batch_results> call_together(const call_options& options, Jobs& jobs) {
    static_cast<void>(check_job<job_reference<Jobs>, A...>{});
    static_cast<void>(check_loop<image>{});
    replies<R> replies;
    if constexpr (counted_jobs<Jobs>) {
      if (auto room = replies.reserve(std::ranges::size(jobs)); !room) return room.error();
    }
    const auto until = deadline_after(options.timeout);
    auto rest = options.timeout;
    std::optional<lease> lent;
    std::size_t used = 0;
    auto next = std::ranges::begin(jobs);
    const auto end = std::ranges::end(jobs);
    result<void> ran;
    while (ran && next != end) {
      auto limits = ready(lent, used, rest, options);
      if (!limits) {
        ran = limits.error();
        break;
      }
      ran = on_machine(*lent, *limits, [&](machine_type& machine) {
        return run_batch(machine, next, end, replies, used, *limits, options.hypercalls);
      });
      rest = until - monotonic::now();
    }
    if (lent) lent->give_back(used);
    if (!ran) return ran.error();
    return std::move(replies).take();
  }

  /// Fails if a call is over before it begins, so that no machine is spent on it.
  static result<void> may_begin(std::chrono::nanoseconds timeout, const call_options& options) {
    if (timeout <= timeout.zero()) [[unlikely]]
      return error{.code = errc::timed_out};
    if (options.stop.stop_requested()) [[unlikely]]
      return error{.code = errc::cancelled};
    return {};
  }

  /// Makes `lent` hold a machine as the snapshot has it: the one it holds, after a run that used
  /// `used_before` bytes of arguments, or another. Returns the limits of the next run.
  result<run_limits> ready(std::optional<lease>& lent, std::size_t used_before,
                           std::chrono::nanoseconds timeout, const call_options& options) {
    if (lent && !*lent) lent.reset();
    if (!lent) {
      auto borrowed = borrow(timeout, options);
      if (!borrowed) return borrowed.error();
      lent.emplace(*std::move(borrowed));
      return limits_of(options, timeout);
    }
    if (auto allowed = may_begin(timeout, options); !allowed) return allowed.error();
    if (!(*lent)->poisoned()) (*lent)->restore(used_before);
    // Of a bare machine that can fail, too.
    if ((*lent)->poisoned()) {
      const auto waited_before = lent->waited();
      auto replaced = lent->replace(limits_of(options, timeout));
      if (!replaced) return replaced.error();
      timeout -= lent->waited() - waited_before;
    }
    return limits_of(options, timeout);
  }

 private:
  /// Runs as many jobs from `next` on as there is room for, and moves it on.
  template <class Next, class End>
  result<void> run_batch(machine_type& machine, Next& next, const End& end, replies<R>& replies,
                         std::size_t& used, const run_limits& limits, std::uint64_t hypercalls) {
    batch<R(A...)> batch(machine.arguments(), machine.arguments_address(), address());
    [[maybe_unused]] lent_list lent;
    Next last = next;
    for (result<void> added; last != end; ++last) {
      added = with_arguments<A...>(*last, [&](const A&... arguments) -> result<void> {
        const marshaller job(arguments...);
        if constexpr (lends) {
          if (auto whole = job.check(); !whole)
            return of_job(whole.error(), replies.size() + batch.count());
          if (auto same = lend_batch(machine, job, lent, batch.count()); !same) return same;
        }
        return batch.add(job, replies.size() + batch.count());
      });
      if (!added && batch.count() == 0) return added;
      if (!added) break;
    }
    used = batch.used();
    add_to(limits.usage, &call_usage::bytes_in, used);
    auto ran = execute(machine, x86::batch_function, limits, hypercalls, policy_);
    if (ran) ran = batch.check_completed();
    if (!ran) return of_job(ran.error(), batch.running(replies.size()));
    for (batch.rewind(); next != last; ++next) {
      auto taken = with_arguments<A...>(*next, [&](const A&... arguments) {
        const marshaller job(arguments...);
        if (limits.usage != nullptr) [[unlikely]]
          limits.usage->bytes_out += job.output_size();
        return replies.add(batch.take(job));
      });
      if (!taken) return taken;
    }
    return {};
  }

  static constexpr bool lends = lent_count<R(A...)> > 0 && can_be_lent<machine_type>;
  using lent_list = std::array<lent_memory, lent_count<R(A...)>>;

  /// Lends `machine` what the first job of a batch is lent, and fails for one that is lent other
  /// memory: the batch ends before it.
  static result<void> lend_batch(machine_type& machine, const marshaller& job, lent_list& lent,
                                 std::size_t index) {
    const auto wanted = job.lent();
    if (index == 0) {
      std::transform(wanted.begin(), wanted.end(), lent.begin(),
                     [](const auto* each) { return *each; });
      return machine.lend(wanted);
    }
    const bool same = std::equal(wanted.begin(), wanted.end(), lent.begin(),
                                 [](const auto* a, const auto& b) { return *a == b; });
    if (same) return {};
    return error{.code = errc::arguments_too_large, .operation = "a job that is lent other memory"};
  }

  result<R> call_on(lease& lent, const marshaller& marshalled, const run_limits& limits,
                    std::uint64_t hypercalls) {
    return on_machine(lent, limits, [&](machine_type& machine) -> result<R> {
      if constexpr (lends) {
        if (auto shown = machine.lend(marshalled.lent()); !shown) return shown.error();
      }
      auto written = marshalled.write(machine.arguments(), machine.arguments_address());
      if (!written) [[unlikely]]
        return written.error();
      add_to(limits.usage, &call_usage::bytes_in, marshalled.used());
      auto ran = execute(machine, address(), limits, hypercalls, policy_);
      if (!ran) [[unlikely]]
        return ran.error();
      if (limits.usage != nullptr) [[unlikely]]
        limits.usage->bytes_out += marshalled.output_size();
      return marshalled.read(machine.arguments());
    });
  }

  /// Borrows a machine for a call that may take `timeout`, from which waiting for it is taken off.
  result<lease> borrow(std::chrono::nanoseconds& timeout, const call_options& options) {
    if (auto allowed = may_begin(timeout, options); !allowed) [[unlikely]]
      return allowed.error();
    auto lent = pool_.borrow(timeout, options.stop, options.stop_if);
    if (lent) timeout -= lent->waited();
    return lent;
  }

  [[no_unique_address]] const entry function_;
  [[no_unique_address]] policy_type policy_;
  std::optional<pool_type> own_;  // After the policy: it waits for calls, which use it.
  pool_type& pool_;
};

}  // namespace virtine::detail
