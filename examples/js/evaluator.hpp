// evaluator: JavaScript from anyone, each time in a virtual machine of its own. conversation: the
// same with scripts that may know of each other.
// Must not know what scripts are for, nor what the host's functions do.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <guests/js.hpp>
#include <virtine/virtine.hpp>

#include "reply.hpp"

namespace js {

/// What came of a script that came to its end.
struct evaluated {
  bool threw = false;
  std::string text;      ///< Its last value as JSON; if it threw, what.
  int line = 0;          ///< Where in the script it threw; 0: not known.
  bool is_whole = true;  ///< False if the text is longer than was allowed, and cut off.
};

struct evaluate_options {
  /// What the script's clock says, all the time.
  std::chrono::system_clock::time_point now = std::chrono::system_clock::now();
  virtine::call_options limits = {};  ///< Of time, and of calls of the host's functions.
  std::size_t text_max = 16 << 10;    ///< Bytes of evaluated::text.
};

namespace detail {

using signature = reply(std::string_view script, std::string_view input, std::int64_t now,
                        std::span<char> text);

/// Evaluates by `function`, a virtine_fn or session of `signature`.
template <class Function>
virtine::result<evaluated> evaluate_by(Function& function, std::string_view script,
                                       std::string_view input, evaluate_options options) {
  std::string text(options.text_max, '\0');
  const auto now =
      std::chrono::duration_cast<std::chrono::microseconds>(options.now.time_since_epoch());
  const auto reply =
      function.with(std::move(options.limits)).try_call(script, input, now.count(), text);
  if (!reply) return reply.error();
  text.resize(std::min(text.size(), static_cast<std::size_t>(reply->size)));
  return evaluated{.threw = reply->what == outcome::thrown,
                   .text = std::move(text),
                   .line = reply->line,
                   .is_whole = reply->size <= options.text_max};
}

}  // namespace detail

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
