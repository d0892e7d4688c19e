// Asks for all that the guide's policies grant, and goes wrong.
// SPDX-License-Identifier: MIT
#include <sys/random.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <virtine/guest.hpp>

#include "shared.hpp"

namespace {

int poll_debugger(std::uint32_t key) {
  virtine::guest::call<log_line>("hello");
  return virtine::guest::call<lookup>(key);
}

// Returns how many of the grants there are.
int count_grants() {
  int found = 0;
  virtine::guest::call<log_line>("hello");
  char text[8] = {};
  if (std::FILE* file = std::fopen("/data/word", "r")) {
    if (std::fgets(text, sizeof text, file) != nullptr) ++found;
    std::fclose(file);
  }
  if (read(3, text, sizeof text) > 0) ++found;
  if (std::time(nullptr) > 0) ++found;
  if (getrandom(text, sizeof text, 0) == sizeof text) ++found;
  if (std::getenv("LANG") != nullptr) ++found;
  if (virtine::guest::arguments().size() == 2) ++found;
  std::printf("found %d", found);
  // Nothing grants this.
  return getuid() == 0 && link("a", "b") != 0 ? found : -1;
}

int divide(int a, int b) {
  return a / b;
}

}  // namespace

VIRTINE_EXPORT(poll_debugger);
VIRTINE_EXPORT(count_grants);
VIRTINE_EXPORT(divide);
