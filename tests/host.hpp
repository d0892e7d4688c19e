// The host that the tests run on.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

/// Returns "svm" or "vmx" in an emulated host, else an empty text.
inline std::string_view emulated_host() {
  const char* name = std::getenv("VIRTINE_HOST");
  return name == nullptr ? "" : name;
}

inline bool is_emulated() {
  return !emulated_host().empty();
}

/// Returns whether a second thread of this program finds a core free now: an emulated host has one
/// core, and elsewhere others may run.
inline bool has_free_core() {
  if (is_emulated()) return false;
  std::ifstream load("/proc/loadavg");
  std::string average;
  unsigned running = 0;  // This thread, too.
  load >> average >> average >> average >> running;
  return running < std::thread::hardware_concurrency();
}
