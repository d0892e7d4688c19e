// The guest: an engine that is ready before the first call, and evaluates one script in each.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/guest.hpp>

#include "../arena.hpp"
#include "../engine.hpp"
#include "../expose.hpp"
#include "../functions.hpp"
#include "../reply.hpp"
#include "clock.hpp"

namespace {

// All that a script may use. It costs nothing where it is not written.
alignas(16) std::byte memory[16 << 20];
js::arena heap(memory);
duk_context* engine = nullptr;

// Runs before the snapshot, so that every evaluation finds this engine as new.
void prepare() {
  engine = js::make_engine(heap);
  js::expose<js::log>(engine);
  js::expose<js::get>(engine);
  // So that the C library has looked for a time zone, and not found one, before it may ask no more.
  duk_eval_string_noresult(engine, "new Date(0).getTimezoneOffset()");
  // So that the collector, which goes through the whole heap, does not soon run by itself.
  duk_gc(engine, 0);
}

js::reply evaluate(std::string_view script, std::string_view input, std::int64_t now,
                   std::span<char> out) {
  js::set_clock(now);
  return js::evaluate(engine, script, input, out);
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(evaluate);
