// What libstdc++ asks of the system below it, answered for musl in place of glibc.
// Must not know guests. Found before libstdc++'s own file of this name.
// SPDX-License-Identifier: MIT
#pragma once

#include <features.h>

#define __NO_CTYPE 1
#define _GLIBCXX_GTHREAD_USE_WEAK 0
#define _GLIBCXX_NATIVE_THREAD_ID pthread_self()
