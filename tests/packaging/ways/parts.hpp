// What the files of the program share.
// Must not include the library.
// SPDX-License-Identifier: MIT
#pragma once

/// How a part of the program, or all of it, went.
enum outcome { right = 0, wrong = 1, no_kvm = 77 };

/// Makes the calls of other.cpp, whose guest's `triple(14)` is `expected`.
outcome call_others(int expected);
