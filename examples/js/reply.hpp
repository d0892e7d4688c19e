// What an evaluation tells beside its text. Shared by the guest and its host.
// Must not know how scripts are evaluated.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/abi/checks.hpp>

namespace js {

enum class outcome : std::uint32_t {
  value,   ///< The text is the script's last value, as JSON.
  thrown,  ///< The text says what the script threw.
};

struct reply {
  outcome what = outcome::value;
  std::int32_t line = 0;   ///< Of the script, where it threw; 0: not known.
  std::uint64_t size = 0;  ///< Of the whole text, also if less was written.
};

}  // namespace js

/// Says of a reply that a guest wrote whether it is one.
template <>
struct virtine::valid_reply<js::reply> {
  static constexpr bool check(const js::reply& given) {
    return given.what == js::outcome::value || given.what == js::outcome::thrown;
  }
};
