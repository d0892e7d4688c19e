// SPDX-License-Identifier: MIT
#include "clock.hpp"

#include <time.h>

namespace {
std::int64_t time_of_call = 0;
}

void js::set_clock(std::int64_t now) {
  time_of_call = now;
}

// What the C library's functions of time come to; there, it would ask the host.
extern "C" int clock_gettime(clockid_t, timespec* out) {
  out->tv_sec = time_of_call / 1'000'000;
  out->tv_nsec = time_of_call % 1'000'000 * 1000;
  if (out->tv_nsec < 0) {
    out->tv_nsec += 1'000'000'000;
    --out->tv_sec;
  }
  return 0;
}
