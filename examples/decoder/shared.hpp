// What the guest and its host agree on.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/abi/checks.hpp>
#include <virtine/hypercall.hpp>

#include "codec.hpp"

namespace decoder {

/// The next rows of a picture, whose size is the same each time.
struct take_rows : virtine::hypercall<1, void(std::uint32_t width, std::uint32_t height,
                                              std::span<const std::byte>)> {};

struct reply {
  outcome what = outcome::decoded;
  words why{};
};

}  // namespace decoder

/// Says of a reply that a guest wrote whether it is one.
template <>
struct virtine::valid_reply<decoder::reply> {
  static constexpr bool check(const decoder::reply& given) {
    return given.what <= decoder::outcome::no_memory;
  }
};
