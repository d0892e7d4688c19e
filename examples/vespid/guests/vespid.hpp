// What a function may ask of Vespid, if it was deployed with `--grant kv`: values that last, by
// key, in a bucket of the tenant's. Shared by functions and workers.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/hypercall.hpp>

namespace vespid {

/// Reads the value of a key into `out`. Returns its size, though it be larger than `out`; -1 if
/// there is none; -2 if the store cannot be reached.
struct get : virtine::hypercall<1, std::int64_t(std::string_view key, std::span<char> out)> {
  static constexpr char name[] = "get";
};

/// Writes the value of a key. Returns 0; -2 if the store cannot be reached or is full, or if the
/// key is not 1 to 200 letters, digits, and - / _ = . between them.
struct put : virtine::hypercall<2, std::int64_t(std::string_view key, std::string_view value)> {
  static constexpr char name[] = "put";
};

}  // namespace vespid
