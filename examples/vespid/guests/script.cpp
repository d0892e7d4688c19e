// The guest that runs tenants' JavaScript: an engine that is ready before the first call. A script
// finds `input` and `env`, and the functions log(text), get(key) and put(key, value).
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

#include "../../js/arena.hpp"
#include "../../js/engine.hpp"
#include "../../js/guests/clock.hpp"
#include "../../js/reply.hpp"
#include "script_calls.hpp"
#include "vespid.hpp"

namespace {

// All that a script may use. It costs nothing where it is not written.
alignas(16) std::byte memory[16 << 20];
js::arena heap(memory);
duk_context* engine = nullptr;

// Where get() finds a value, before the engine has it.
std::array<char, vespid::script_value_max> value;

std::string_view text_at(duk_context* of, duk_idx_t index) {
  if (duk_is_symbol(of, index)) static_cast<void>(duk_type_error(of, "a symbol is no text"));
  duk_size_t size = 0;
  const char* const text = duk_require_lstring(of, index, &size);
  return {text, size};
}

duk_ret_t log(duk_context* of) {
  virtine::guest::call<vespid::print>(text_at(of, 0));
  return 0;
}

duk_ret_t get(duk_context* of) {
  const std::int64_t size = virtine::guest::call<vespid::get>(text_at(of, 0), value);
  if (size == -1) return 0;  // undefined
  if (size < 0) return duk_error(of, DUK_ERR_ERROR, "the store cannot be reached");
  if (static_cast<std::uint64_t>(size) > value.size()) {
    return duk_range_error(of, "the value is larger than a script may read");
  }
  js::push_text(of, {value.data(), static_cast<std::size_t>(size)});
  return 1;
}

duk_ret_t put(duk_context* of) {
  if (virtine::guest::call<vespid::put>(text_at(of, 0), text_at(of, 1)) != 0) {
    return duk_error(of, DUK_ERR_ERROR, "the store did not take the value");
  }
  return 0;
}

void prepare() {
  engine = js::make_engine(heap);
  duk_push_c_function(engine, log, 1);
  duk_put_global_literal(engine, "log");
  duk_push_c_function(engine, get, 1);
  duk_put_global_literal(engine, "get");
  duk_push_c_function(engine, put, 2);
  duk_put_global_literal(engine, "put");
  // So that the C library has looked for a time zone before it may ask no more, and so that the
  // collector, which goes through the whole heap, does not soon run by itself.
  duk_eval_string_noresult(engine, "new Date(0).getTimezoneOffset()");
  duk_gc(engine, 0);
}

js::reply evaluate(std::string_view script, std::string_view input, std::string_view environment,
                   std::int64_t now, std::span<char> out) {
  js::set_clock(now);
  // The worker's own JSON, so it is some, and short.
  duk_push_lstring(engine, environment.data(), environment.size());
  duk_json_decode(engine, -1);
  duk_put_global_literal(engine, "env");
  return js::evaluate(engine, script, input, out);
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(evaluate);
