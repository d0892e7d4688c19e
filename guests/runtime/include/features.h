// musl's features.h, and the macros that glibc's has besides: headers that only glibc has, as a
// file shared with the host may include, are written with them. Must not know guests. Found before
// musl's own file of this name.
// SPDX-License-Identifier: MIT
#pragma once

#include_next <features.h>

#include <sys/cdefs.h>
