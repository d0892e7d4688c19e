// A row as the predicate and the database both see it.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

struct order {
  std::int32_t quantity = 0;
  std::int32_t price = 0;  // In cents.
};
