// Stops a compiler that is not told to compile C++20, by one message: a file that is missing ends
// it. Headers that include no other of the library include this one first.
// SPDX-License-Identifier: MIT
#pragma once

#if __cplusplus < 202002L
#include <virtine needs C++20: compile with -std=c++20>
#endif
