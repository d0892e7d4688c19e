// What unloading.cpp loads: a shared object that hides all of the library that it uses.
// SPDX-License-Identifier: MIT
#include <chrono>

#include <virtine/virtine.hpp>

#include "plugin.guest.hpp"

VIRTINE(square, (int n) -> int) {
  return n * n;
}

VIRTINE(spin, () -> void) {
  for (;;) asm volatile("");
}

// Makes calls of each kind. Returns null, or what went wrong.
extern "C" [[gnu::visibility("default")]] const char* use_virtines() {
  if (square.try_call(3).value_or(0) != 9) return "a call";
  if (square.async(4).try_get().value_or(0) != 16) return "a call on the pool's thread";
  virtine::virtine_fn resident{square};
  virtine::session session(resident);
  if (session.try_call(5).value_or(0) != 25) return "a session";
  const auto stopped = spin.with({.timeout = std::chrono::milliseconds(5)}).try_call();
  return !stopped && stopped.error().code == virtine::errc::timed_out ? nullptr : "a deadline";
}
