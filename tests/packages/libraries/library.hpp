// What each file here is: one function, which uses a library and returns 0 if all answers were
// those that are known, else the line of the first other one. A guest exports it; natively it is
// what a call of the guest is measured against.
// SPDX-License-Identifier: MIT
#pragma once

#ifdef VIRTINE_GUEST
#include <virtine/guest.hpp>
#define LIBRARY(name)           \
  static int name##_works();    \
  VIRTINE_EXPORT(name##_works); \
  static int name##_works()
#else
#define LIBRARY(name) int name##_works()
#endif

#define EXPECT(holds) \
  if (!(holds)) return __LINE__
