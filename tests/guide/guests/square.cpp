// The guest of README.md.
// SPDX-License-Identifier: MIT
// clang-format off
#include <virtine/guest.hpp>          // square.cpp, which virtine-cc turns into <guests/square.hpp>

static int square(int n) { return n * n; }

VIRTINE_EXPORT(square);
