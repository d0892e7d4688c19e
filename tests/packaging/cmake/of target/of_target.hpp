// In an include directory of the target, which its images see too.
// SPDX-License-Identifier: MIT
#pragma once

inline constexpr int none = 0;
