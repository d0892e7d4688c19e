// What the trouble guest asks of its host.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/hypercall.hpp>

struct knock : virtine::hypercall<1, void()> {};
