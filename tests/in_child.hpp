// Runs a part of a test in a child process, which it may ruin.
// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "catch.hpp"

/// Whether this is a child, in which what the parent's threads may hold is never destroyed.
inline bool is_child = false;

/// Has LeakSanitizer, where there is one, look at the parent only.
extern "C" [[gnu::used]] inline int
__lsan_is_turned_off() {  // NOLINT(bugprone-reserved-identifier)
  return is_child ? 1 : 0;
}

/// Runs `body` in a child process and returns what it does, 128 + the signal that ended it, or 255
/// for a child that has not ended after `limit`.
template <class Body>
int in_child(Body body, std::chrono::seconds limit = std::chrono::seconds(120)) {
  const pid_t child = ::fork();
  if (child == 0) {
    is_child = true;
    ::_exit(body());
  }
  int status = 0;
  for (const auto begin = std::chrono::steady_clock::now();;) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    REQUIRE(ended >= 0);
    if (ended == child) break;
    if (std::chrono::steady_clock::now() - begin > limit) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return 255;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
