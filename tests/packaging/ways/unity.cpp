// The program as one file.
// SPDX-License-Identifier: MIT
#include "main.cpp"
#include "other.cpp"
