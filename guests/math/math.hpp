// What the math guest and its hosts share: a struct, and the one thing the guest asks of its host.
// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include <virtine/hypercall.hpp>

struct point {
  double x = 0;
  double y = 0;
};

/// Asks the host to write a line to its log.
struct log_line : virtine::hypercall<1, void(std::string_view)> {};
