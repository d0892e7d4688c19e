// The guest's clock, which stands still during a call, so that asking for the time needs no host.
// Must not know who asks.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace js {

/// Sets the clock, in microseconds since 1970.
void set_clock(std::int64_t now);

}  // namespace js
