// Whether a program has one thread; glibc's header of this name would not compile with musl's.
// Must not know guests, which have one.
// SPDX-License-Identifier: MIT
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

extern char __libc_single_threaded;

#ifdef __cplusplus
}
#endif
