// Duktape, made ready and asked to evaluate scripts. Compiled for the guest, and natively for the
// benchmark.
// Knows nothing of virtines.
// SPDX-License-Identifier: MIT
#pragma once

#include <duktape.h>

#include <span>
#include <string_view>

#include "arena.hpp"
#include "reply.hpp"

namespace js {

/// Makes an engine whose memory is `heap`, which must outlive it and not move; or returns null if
/// that has no room for one. duk_destroy_heap ends it.
duk_context* make_engine(arena& heap);

/// Pushes a text in UTF-8 as the engine has it: characters beyond U+FFFF in two parts. So texts
/// that look alike are equal, wherever they come from.
void push_text(duk_context* engine, std::string_view text);

/// Evaluates `script`, for which the JSON text `input` is the global variable `input`. Writes to
/// `out` the script's last value as JSON or, if it threw, a description of what; what does not fit
/// is cut off. What the script does to the engine's globals stays.
reply evaluate(duk_context* engine, std::string_view script, std::string_view input,
               std::span<char> out);

}  // namespace js
