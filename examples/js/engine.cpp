// SPDX-License-Identifier: MIT
#include "engine.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace js {

namespace {

struct job {
  std::string_view script;
  std::string_view input;
};

// The functions below run under duk_safe_call: an error of the script leaves them by longjmp, so
// they hold nothing that would have to be destroyed.

duk_ret_t run(duk_context* engine, void* given) {
  const job& todo = *static_cast<const job*>(given);
  push_text(engine, todo.input);
  duk_json_decode(engine, -1);
  duk_put_global_literal(engine, "input");
  duk_push_literal(engine, "script");
  duk_compile_lstring_filename(engine, DUK_COMPILE_EVAL, todo.script.data(), todo.script.size());
  duk_call(engine, 0);
  duk_json_encode(engine, -1);
  // What has no JSON, a function for instance.
  if (duk_is_undefined(engine, -1)) duk_push_literal(engine, "null");
  return 1;
}

// Leaves a description of the error on top, and its line below. What was thrown may be any object,
// whose properties may be functions that throw in turn.
duk_ret_t describe(duk_context* engine, void*) {
  const bool is_error = duk_is_error(engine, -1) != 0;
  if (is_error) {
    duk_get_prop_literal(engine, -1, "lineNumber");
  } else {
    duk_push_int(engine, 0);
  }
  duk_swap_top(engine, -2);
  duk_to_string(engine, -1);
  return 2;
}

// Returns the surrogate of UTF-16 whose three bytes, as the engine holds it, are at `at`; or 0.
unsigned surrogate(std::string_view text, std::size_t at) {
  if (text.size() - at < 3 || text[at] != '\xed' || (text[at + 1] & 0x20) == 0) return 0;
  const auto middle = static_cast<unsigned char>(text[at + 1]);
  const auto last = static_cast<unsigned char>(text[at + 2]);
  return 0xd000U | (middle & 0x3fU) << 6 | (last & 0x3fU);
}

// Copies `text` as UTF-8: the engine has characters beyond U+FFFF in two parts, and allows half of
// one. Returns the size of the whole; what does not fit is left out.
std::size_t copy_utf8(std::string_view text, std::span<char> out) {
  std::size_t size = 0;
  const auto put = [&](unsigned byte) {
    if (size < out.size()) out[size] = static_cast<char>(byte);
    ++size;
  };
  for (std::size_t at = 0; at < text.size();) {
    const unsigned high = surrogate(text, at);
    if (high == 0) {
      put(static_cast<unsigned char>(text[at++]));
      continue;
    }
    at += 3;
    const unsigned low = at < text.size() ? surrogate(text, at) : 0;
    if (high < 0xdc00 && low >= 0xdc00) {
      at += 3;
      const unsigned character = 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
      put(0xf0 | character >> 18);
      put(0x80 | (character >> 12 & 0x3f));
      put(0x80 | (character >> 6 & 0x3f));
      put(0x80 | (character & 0x3f));
    } else {
      for (unsigned byte : {0xefU, 0xbfU, 0xbdU}) put(byte);  // U+FFFD
    }
  }
  return size;
}

reply write(duk_context* engine, outcome what, std::int32_t line, std::span<char> out) {
  duk_size_t size = 0;
  const char* text = duk_get_lstring(engine, -1, &size);
  const std::size_t written = copy_utf8({text, size}, out);
  duk_set_top(engine, 0);
  return {what, line, written};
}

// Returns the character beyond U+FFFF whose four bytes of UTF-8 are at `at`; or 0.
unsigned long_character(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  if (text.size() - at < 4 || byte(0) < 0xf0 || byte(0) > 0xf4) return 0;
  unsigned character = byte(0) & 7U;
  for (std::size_t i = 1; i < 4; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    character = character << 6 | (byte(i) & 0x3fU);
  }
  return character >= 0x10000 && character < 0x110000 ? character : 0;
}

}  // namespace

void push_text(duk_context* engine, std::string_view text) {
  const auto is_long = [](char c) { return static_cast<unsigned char>(c) >= 0xf0; };
  const auto count = std::count_if(text.begin(), text.end(), is_long);
  if (count == 0) {
    duk_push_lstring(engine, text.data(), text.size());
    return;
  }
  const std::size_t most = text.size() + 2 * static_cast<std::size_t>(count);
  char* const begin = static_cast<char*>(duk_push_dynamic_buffer(engine, most));
  char* to = begin;
  for (std::size_t at = 0; at < text.size();) {
    const unsigned character = long_character(text, at);
    if (character == 0) {
      *to++ = text[at++];
      continue;
    }
    at += 4;
    const unsigned bits = character - 0x10000;
    for (const unsigned half : {0xd800 | bits >> 10, 0xdc00 | (bits & 0x3ff)}) {
      *to++ = '\xed';
      *to++ = static_cast<char>(0x80 | (half >> 6 & 0x3f));
      *to++ = static_cast<char>(0x80 | (half & 0x3f));
    }
  }
  duk_resize_buffer(engine, -1, static_cast<std::size_t>(to - begin));
  duk_buffer_to_string(engine, -1);
}

duk_context* make_engine(arena& heap) {
  return duk_create_heap(
      [](void* from, duk_size_t size) { return static_cast<arena*>(from)->allocate(size); },
      [](void* from, void* given, duk_size_t size) {
        return static_cast<arena*>(from)->resize(given, size);
      },
      [](void* from, void* given) { static_cast<arena*>(from)->free(given); }, &heap, nullptr);
}

reply evaluate(duk_context* engine, std::string_view script, std::string_view input,
               std::span<char> out) {
  job todo{script, input};
  if (duk_safe_call(engine, run, &todo, 0, 1) == DUK_EXEC_SUCCESS) {
    return write(engine, outcome::value, 0, out);
  }
  if (duk_safe_call(engine, describe, nullptr, 1, 2) == DUK_EXEC_SUCCESS) {
    return write(engine, outcome::thrown, duk_get_int(engine, -2), out);
  }
  duk_set_top(engine, 0);
  // Not by the engine: if it has no memory left, nothing would catch its error here.
  constexpr std::string_view text =
      "what was thrown cannot be described: that throws, or finds no memory";
  return {outcome::thrown, 0, copy_utf8(text, out)};
}

}  // namespace js
