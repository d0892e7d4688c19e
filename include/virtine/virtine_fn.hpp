// virtine_fn<Sig, Entry, Policy>: a function of an image, called like any other.
// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <virtine/abi/checks.hpp>
#include <virtine/call/callable.hpp>
#include <virtine/call/caller.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/call_options.hpp>
#include <virtine/policy.hpp>
#include <virtine/pool.hpp>

namespace virtine {

/// Names a function's type and its entry, from which a virtine_fn can be made without naming types.
template <class Sig, class Entry>
struct function_entry {};

/// A function that runs in a virtual machine. `Sig` is its type. `Entry` is a generated entry, or
/// an image with a single one. `Policy` is the type of the policy that serves its requests.
///
/// Each call runs on a machine whose state is that of the image's snapshot, whatever earlier calls
/// did. Any number of threads may call. Arguments are copied in. Outputs (spans of non-const
/// elements) are copied back if the call succeeds. A call costs one KVM_RUN on a machine that was
/// used before. If no machine is idle, it costs the creation of one, which is about twenty times as
/// much. It ends after ten seconds or a million hypercalls, unless call_options say otherwise.
///
/// The first call creates a machine, runs the image's initialiser, and starts a thread that watches
/// deadlines.
///
/// Example: `virtine::virtine_fn<int(int), guests::square> square; int nine = square(3);`
template <class Sig, class Entry, class Policy = deny_all>
class virtine_fn {
  static_assert(detail::never<Sig>,
                "virtine [V116]: the first argument of virtine_fn is not the type of a function. "
                "Write the result and, in parentheses, the arguments: int(int).");
};

/// The same for a `noexcept` function type, whose `noexcept` says nothing of the call.
template <class R, class... A, class Entry, class Policy>
class virtine_fn<R(A...) noexcept, Entry, Policy> : public virtine_fn<R(A...), Entry, Policy> {
  using virtine_fn<R(A...), Entry, Policy>::virtine_fn;
};

template <class R, class... A, class Named, class Policy>
class virtine_fn<R(A...), Named, Policy>
    : detail::check_signature<R(A...)>,
      detail::check_entry<R(A...), Named, Policy>,
      public detail::callable<virtine_fn<R(A...), Named, Policy>,
                              detail::caller<R(A...), Named, Policy>, R, A...> {
  using caller = detail::caller<R(A...), Named, Policy>;
  using entry = typename caller::entry;

 public:
  using image = typename caller::image;
  using pool_type = typename caller::pool_type;

  /// Uses a pool of its own with these options. Opens nothing yet; the first call may fail with
  /// errc::no_kvm.
  virtine_fn() requires std::is_default_constructible_v<Policy> : virtine_fn(Policy{}) {}
  explicit virtine_fn(Policy policy, pool_options options = {})
      : virtine_fn(of_entry(), entry{}, std::move(policy), std::in_place, options) {}

  /// Uses `pool`, which must outlive this.
  explicit virtine_fn(pool_type& pool, Policy policy = {})
      : virtine_fn(of_entry(), entry{}, std::move(policy), pool) {}

  explicit virtine_fn(function_entry<R(A...), Named>, Policy policy = {}, pool_options options = {})
      : virtine_fn(std::move(policy), options) {}
  virtine_fn(function_entry<R(A...), Named>, pool_type& pool, Policy policy = {})
      : virtine_fn(pool, std::move(policy)) {}

  // A move copies, so that one that was moved from can still be called.
  virtine_fn(const virtine_fn&) = default;
  virtine_fn& operator=(const virtine_fn&) = default;
  ~virtine_fn() = default;

  /// Returns how often calls have used the policy, and what it denied. Copies of the function count
  /// together.
  [[nodiscard]] virtine::policy_usage policy_usage() const { return caller_->policy().usage(); }

  /// Returns the pool that calls take their machines from.
  [[nodiscard]] pool_type& pool() const { return caller_->pool(); }

  // Of callable, and of sessions and debuggers of this function.
  [[nodiscard]] const std::shared_ptr<caller>& target() const { return caller_; }
  [[nodiscard]] static const call_options& options() { return detail::default_options; }

 private:
  template <class Machine>
  friend class basic_loaded_image;

  struct of_entry {
    explicit of_entry() = default;  // So that no {} is one.
  };
  template <class... Pool>
  virtine_fn(of_entry, entry function, Policy policy, Pool&&... pool)
      : caller_(new caller(function, std::move(policy), std::forward<Pool>(pool)...),
                detail::delete_unless_abandoned<caller>) {}

  std::shared_ptr<caller> caller_;
};

}  // namespace virtine
