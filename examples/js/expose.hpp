// expose<Call>: makes a hypercall a function of scripts, by its declaration alone. An argument that
// is not of the declared type is a TypeError of the script's.
// Must not know any hypercall. For guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <duktape.h>

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/guest.hpp>

#include "engine.hpp"
#include "functions.hpp"

namespace js {

/// Returns argument `index` of the function that a script called. One overload for each type that
/// hypercalls take.
inline std::string_view take(duk_context* engine, duk_idx_t index,
                             std::type_identity<std::string_view>) {
  // Of which the engine has a text, but the script does not.
  if (duk_is_symbol(engine, index))
    static_cast<void>(duk_type_error(engine, "a symbol is no text"));
  duk_size_t size = 0;
  const char* text = duk_require_lstring(engine, index, &size);
  return {text, size};
}

/// Gives a hypercall's result to the script. One overload for each type that hypercalls return.
inline void give(duk_context* engine, const found& value) {
  if (value.exists == 0) {
    duk_push_undefined(engine);
  } else {
    push_text(engine, value.text.text());
  }
}

template <class Call, class Sig = typename Call::signature_type>
struct exposed;

template <class Call, class R, class... A>
struct exposed<Call, R(A...)> {
  static constexpr duk_idx_t arguments = sizeof...(A);

  static duk_ret_t function(duk_context* engine) {
    return call(engine, std::index_sequence_for<A...>{});
  }

 private:
  template <std::size_t... I>
  static duk_ret_t call(duk_context* engine, std::index_sequence<I...>) {
    const auto ask = [&] {
      return virtine::guest::call<Call>(
          take(engine, static_cast<duk_idx_t>(I), std::type_identity<A>{})...);
    };
    if constexpr (std::is_void_v<R>) {
      ask();
      return 0;
    } else {
      give(engine, ask());
      return 1;
    }
  }
};

template <class Call>
void expose(duk_context* engine) {
  duk_push_c_function(engine, exposed<Call>::function, exposed<Call>::arguments);
  duk_put_global_string(engine, Call::name);
}

}  // namespace js
