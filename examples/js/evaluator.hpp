// evaluator: JavaScript from anyone, each time in a virtual machine of its own. conversation: the
// same with scripts that may know of each other.
// Must not know what scripts are for, nor what the host's functions do.
// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <utility>

#include <guests/js.hpp>
#include <virtine/virtine.hpp>

#include "evaluated.hpp"

namespace js {

template <class Policy>
class conversation;

/// Evaluates scripts. `Policy` serves js::log and js::get. May be used by any number of threads, if
/// the policy's handlers may. Of more than 64 evaluations and conversations at one time, some wait
/// for others to end.
template <class Policy>
class evaluator {
 public:
  explicit evaluator(Policy policy) : function_(std::move(policy)) {}

  /// Evaluates `script`, for which the JSON text `input` is the variable `input`, on an engine that
  /// no script has used. Fails as calls of virtines do: timed_out, guest_fault...
  virtine::result<evaluated> operator()(std::string_view script, std::string_view input = "null",
                                        evaluate_options options = {}) {
    return detail::evaluate_by(function_, script, input, std::move(options));
  }

  /// Returns the pool of the machines that scripts run on.
  [[nodiscard]] auto& pool() const { return function_.pool(); }

 private:
  friend conversation<Policy>;
  virtine::virtine_fn<detail::signature, guests::js::evaluate, Policy> function_;
};

/// Evaluates scripts on one engine: what one leaves, the next ones find. Each costs no exit, but
/// the conversation a second core. Once one fails (not: throws), all later ones do.
template <class Policy>
class conversation {
 public:
  /// `of` must outlive this.
  explicit conversation(evaluator<Policy>& of) : session_(of.function_) {}

  virtine::result<evaluated> operator()(std::string_view script, std::string_view input = "null",
                                        evaluate_options options = {}) {
    return detail::evaluate_by(session_, script, input, std::move(options));
  }

 private:
  virtine::session<detail::signature, guests::js::evaluate, Policy> session_;
};

}  // namespace js
