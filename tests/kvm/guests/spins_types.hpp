// The hypercall by which the spins guest says that it runs.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/hypercall.hpp>

/// Asks whether to go on.
struct running : virtine::hypercall<1, bool()> {};
