// What a user of the database wants to know of a row: code that the database does not trust.
// SPDX-License-Identifier: MIT
#include "predicate.hpp"

#include <cstdint>

#include <virtine/guest.hpp>

// Says whether the order is a large one.
static bool is_large(order row) {
  return std::int64_t{row.quantity} * row.price >= 100'000;
}

VIRTINE_EXPORT(is_large);
