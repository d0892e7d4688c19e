// Calls of the marked functions of registers_itself.cpp.
// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace registers_itself {
int operated(std::string_view name, int x);
int summed();
}  // namespace registers_itself
