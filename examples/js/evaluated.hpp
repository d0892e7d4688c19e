// What comes of an evaluation, and how it is asked for: the host's side of a call of the engine,
// which may be no engine any more and answer anything.
// Must not know what is called, a virtine or a session.
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

#include <virtine/call_options.hpp>
#include <virtine/result.hpp>

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

}  // namespace js
