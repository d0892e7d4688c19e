// What a script may ask of the host, besides to be evaluated: functions that scripts find under the
// names given here. Shared by the guest and its host.
// Must not know how either of them does its part.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include <virtine/bytes.hpp>
#include <virtine/hypercall.hpp>

namespace js {

/// What get() found: `undefined` for the script if nothing.
struct found {
  std::uint64_t exists = 0;
  virtine::bytes<4000> text;
};

/// log(text): a line for the host's log.
struct log : virtine::hypercall<1, void(std::string_view)> {
  static constexpr char name[] = "log";
};

/// get(key): a value of the host's, as text.
struct get : virtine::hypercall<2, found(std::string_view)> {
  static constexpr char name[] = "get";
};

}  // namespace js
