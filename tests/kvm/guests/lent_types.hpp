// What the image of lent.cpp asks of its host.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>

#include <virtine/hypercall.hpp>

struct filled : virtine::hypercall<2, std::uint64_t(std::span<std::uint64_t>)> {};
struct told : virtine::hypercall<1, std::uint64_t(std::span<const std::uint64_t>)> {};
