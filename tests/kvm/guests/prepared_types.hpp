// What the guest prepared.cpp tells of itself. Freestanding.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

struct prepared_state {
  std::uint64_t trace = 0;   ///< A digit for each constructor and the initialiser, in order.
  std::uint64_t born = 0;    ///< The time stamp counter when the initialiser ran.
  std::uint64_t calls = 0;   ///< Calls that this one knows of, itself included.
  std::uint64_t digits = 0;  ///< What the constructors left in their objects.
};
