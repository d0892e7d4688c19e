// The hypercalls that the asks guest makes.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <virtine/hypercall.hpp>

struct measured {
  std::uint64_t length = 0;
  double total = 0;
};

struct write_line : virtine::hypercall<1, void(std::string_view)> {};
struct add_up : virtine::hypercall<2, std::int64_t(std::int8_t, std::int64_t)> {};
struct fill_in : virtine::hypercall<3, std::uint32_t(std::span<std::uint32_t>)> {};
struct measure : virtine::hypercall<4, measured(std::string_view, std::span<const double>)> {};
struct knock : virtine::hypercall<5, bool()> {};
