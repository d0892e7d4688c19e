// The error of a call whose arguments do not fit.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>

#include <virtine/error.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// Returns the error of a call that takes `needed` bytes where there is room for `room`; without
/// the latter if there is no memory for the text.
inline error too_large(std::size_t needed, std::size_t room) {
  error why{.code = errc::arguments_too_large, .detail = needed};
  static_cast<void>(os::or_out_of_memory([&]() -> result<void> {
    why = told(why, "there is room for " + std::to_string(room));
    return {};
  }));
  return why;
}

}  // namespace virtine::detail
