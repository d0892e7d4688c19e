// What the guest for scripts and the worker have in common.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

#include <virtine/hypercall.hpp>

namespace vespid {

inline constexpr std::size_t script_value_max = std::size_t{64} << 10;

/// log(text): a line of the function's output.
struct print : virtine::hypercall<3, void(std::string_view)> {
  static constexpr char name[] = "log";
};

}  // namespace vespid
