// What can be called: the one surface that functions, sessions and all others share.
// Knows nothing of how a call is made.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include <virtine/call/batch.hpp>
#include <virtine/call_options.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/pending.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

// Without <ranges>, which costs each file that includes this a tenth of a second; what finds the
// begin of a range is in <iterator>, too.
template <class Jobs>
using job_iterator = decltype(std::ranges::begin(std::declval<Jobs&>()));
template <class Jobs>
using job_reference = std::iter_reference_t<job_iterator<Jobs>>;
template <class Jobs>
concept jobs_once = std::input_iterator<job_iterator<Jobs>>;
template <class Jobs>
concept jobs_again = std::forward_iterator<job_iterator<Jobs>>;
template <class Jobs>
concept counted_jobs = requires(Jobs& jobs) {
  std::ranges::size(jobs);
};

/// Makes room for `count` results in all. There is no result yet in which a lack of memory could be
/// told, so it is thrown.
template <class R>
void make_room(std::vector<result<R>>& results, std::size_t count) {
#ifdef __cpp_exceptions
  os::or_out_of_memory([&]() -> result<void> {
    results.reserve(count);
    return {};
  }).value();
#else
  results.reserve(count);
#endif
}

/// Returns what `call(arguments...)` returns for each of the jobs of a function of A....
template <class R, class... A, class Jobs, class Call>
std::vector<result<R>> for_each_job(Jobs& jobs, const Call& call) {
  static_cast<void>(check_job<job_reference<Jobs>, A...>{});
  std::vector<result<R>> results;
  if constexpr (counted_jobs<Jobs>) make_room(results, std::ranges::size(jobs));
  for (auto&& job : jobs) {
    if (results.size() == results.capacity()) make_room(results, 2 * results.size() + 1);
    results.push_back(with_arguments<A...>(job, call));
  }
  return results;
}

/// What makes calls of one signature, whatever it is.
template <class R, class... A>
class callee {
 public:
  virtual ~callee() = default;

  virtual result<R> call(const call_options& options, const A&... arguments) = 0;

  /// Calls once for each job; one that fails does not stop the others.
  template <class Jobs>
  std::vector<result<R>> call_each(const call_options& options, Jobs& jobs) {
    return for_each_job<R, A...>(
        jobs, [&](const A&... arguments) -> result<R> { return call(options, arguments...); });
  }

  /// Calls once for each job until one fails.
  template <class Jobs>
  result<typename replies<R>::taken> call_together(const call_options& options, Jobs& jobs) {
    static_cast<void>(check_job<job_reference<Jobs>, A...>{});
    replies<R> all;
    if constexpr (counted_jobs<Jobs>) {
      if (auto room = all.reserve(std::ranges::size(jobs)); !room) return room.error();
    }
    const auto until = deadline_after(options.timeout);
    call_options rest = options;
    for (auto&& job : jobs) {
      auto added = all.add(with_arguments<A...>(
          job, [&](const A&... arguments) -> result<R> { return call(rest, arguments...); }));
      if (!added) return added.error();
      rest.timeout = until - monotonic::now();
    }
    return std::move(all).take();
  }

 protected:
  callee() = default;
  callee(const callee&) = default;
  callee& operator=(const callee&) = default;
};

/// A callee that has threads on which calls can run.
template <class R, class... A>
class async_callee : public callee<R, A...> {
 public:
  virtual pending<R> start(const call_options& options, const A&... arguments) = 0;
};

template <class Target, class R, class... A>
class limited;

/// The calls of a Self that a Target makes. `Self::target()` returns a std::shared_ptr to it, and
/// `Self::options()` the limits of each call.
template <class Self, class Target, class R, class... A>
class callable {
 public:
#ifdef __cpp_exceptions
  /// Calls the function. Throws failure if that does not succeed.
  R operator()(A... arguments) const {
    return self().target()->call(self().options(), arguments...).value();
  }
#endif

  /// Calls the function; returns its result or what went wrong, a lack of memory too. Throws only
  /// what a handler throws.
  [[nodiscard]] result<R> try_call(A... arguments) const {
    return self().target()->call(self().options(), arguments...);
  }

  /// Calls the function on a thread of the pool's, of which there are pool_options::workers;
  /// handlers run there too. The arguments are copied, but not what spans refer to. The call's time
  /// begins when a thread takes it up. A function with a pool of its own waits for such calls when
  /// its last copy is destroyed.
  pending<R> async(A... arguments) const requires std::derived_from<Target, async_callee<R, A...>> {
    return self().target()->start(self().options(), arguments...);
  }

  /// Calls the function once for each element of `jobs`: its argument, or a tuple of all of them.
  /// Each is a call as by try_call; one that fails does not stop the others. Returns their results
  /// in the same order. A virtine_fn holds one machine all the while. Throws failure only if there
  /// is no memory for the results themselves.
  template <jobs_once Jobs>
  [[nodiscard]] std::vector<result<R>> each(Jobs&& jobs) const {
    return self().target()->call_each(self().options(), jobs);
  }

  /// Calls the function once for each element of `jobs`. A virtine_fn makes many calls in one stay
  /// in the guest: the calls of a batch share one state and can read and change each other's
  /// arguments and results, so use it for jobs that may know of each other. As many jobs as
  /// argument memory holds are a batch, and each batch finds a fresh state. Returns all results in
  /// order, or what went wrong first and, in error::job, where; spans of jobs before that one may
  /// have been written. The timeout is for all jobs together, the limit of hypercalls for each
  /// batch.
  template <jobs_again Jobs>
  [[nodiscard]] result<typename replies<R>::taken> together(Jobs&& jobs) const {
    return self().target()->call_together(self().options(), jobs);
  }

  /// Returns this function with other limits for each call: `fn.with({.timeout = 50ms})(3)`. What
  /// is returned can be kept: it shares what it calls, but for a session, which must outlive it.
  [[nodiscard]] limited<Target, R, A...> with(call_options options) const {
    return {self().target(), std::move(options)};
  }

 private:
  [[nodiscard]] const Self& self() const {
    return static_cast<const Self&>(*this);
  }
};

/// A callable with limits of its own.
template <class Target, class R, class... A>
class limited : public callable<limited<Target, R, A...>, Target, R, A...> {
 public:
  limited(std::shared_ptr<Target> target, call_options options)
      : target_(std::move(target)), options_(std::move(options)) {}

  [[nodiscard]] const std::shared_ptr<Target>& target() const { return target_; }
  [[nodiscard]] const call_options& options() const { return options_; }

 private:
  std::shared_ptr<Target> target_;
  call_options options_;
};

/// The limits of calls that set none.
inline const call_options default_options{};

}  // namespace virtine::detail
