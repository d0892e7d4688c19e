// What the jobs guest shares with its host.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/hypercall.hpp>

/// As strictly aligned as a frame allows.
struct alignas(64) block {
  unsigned long words[8] = {};
};

struct question : virtine::hypercall<1, int(int)> {};
