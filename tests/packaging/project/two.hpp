// What the two files app.cpp have for two.cpp.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/result.hpp>

virtine::result<int> a(int n);
virtine::result<int> b(int n);
