// What the asking guest asks of its host.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/hypercall.hpp>

/// Returns the number after `n`.
struct next : virtine::hypercall<1, int(int n)> {};
