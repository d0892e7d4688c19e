// What an evaluation costs if parts of examples/js are done otherwise: the engine made in each call
// instead of before the snapshot, and destroyed at the end of each call although the machine is
// wiped.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <span>
#include <string_view>

#include <examples/js/arena.hpp>
#include <examples/js/engine.hpp>
#include <examples/js/reply.hpp>
#include <virtine/guest.hpp>

namespace {

alignas(16) std::byte prepared_memory[16 << 20];
js::arena prepared_heap(prepared_memory);
duk_context* prepared = nullptr;

alignas(16) std::byte memory[16 << 20];
js::arena heap(memory);

void prepare() {
  prepared = js::make_engine(prepared_heap);
  duk_gc(prepared, 0);
}

js::reply rebuild_and_destroy(std::string_view script, std::string_view input,
                              std::span<char> out) {
  duk_context* engine = js::make_engine(heap);
  const js::reply reply = js::evaluate(engine, script, input, out);
  duk_destroy_heap(engine);
  return reply;
}

js::reply rebuild(std::string_view script, std::string_view input, std::span<char> out) {
  return js::evaluate(js::make_engine(heap), script, input, out);
}

js::reply destroy(std::string_view script, std::string_view input, std::span<char> out) {
  const js::reply reply = js::evaluate(prepared, script, input, out);
  duk_destroy_heap(prepared);
  return reply;
}

}  // namespace

VIRTINE_INIT(prepare);
VIRTINE_EXPORT(rebuild_and_destroy);
VIRTINE_EXPORT(rebuild);
VIRTINE_EXPORT(destroy);
