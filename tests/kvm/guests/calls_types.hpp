// What the guest that makes system calls as it is told shares with its host. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

/// A system call to make.
struct told_call {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> arguments{};
  std::uint64_t relative = 0;  ///< Bit i: argument i is an offset in the memory that came along.
  std::int64_t result = 0;     ///< The answer.
};

/// No call: stores the address of offset arguments[1] at offset arguments[0].
inline constexpr std::uint64_t store_address = ~std::uint64_t{0};
/// No call: takes arguments[0] of the ones that follow as so many rounds of them.
inline constexpr std::uint64_t repeat = store_address - 1;
