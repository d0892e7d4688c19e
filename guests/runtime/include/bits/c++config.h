// libstdc++'s configuration, which was found out with glibc, less what musl does not have.
// Must not know guests. Found before libstdc++'s own file of this name.
// SPDX-License-Identifier: MIT
#pragma once

#include_next <bits/c++config.h>

#undef _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT
#undef _GLIBCXX_USE_PTHREAD_MUTEX_CLOCKLOCK
#undef _GLIBCXX_USE_PTHREAD_RWLOCK_CLOCKLOCK
#undef _GLIBCXX_USE_UCHAR_C8RTOMB_MBRTOC8_CXX20
#undef _GLIBCXX_USE_UCHAR_C8RTOMB_MBRTOC8_FCHAR8_T

// The name that glibc has for it.
#define __locale_t locale_t
