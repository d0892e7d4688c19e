// Keeps reads and writes that the kernel answers with a signal from ending or stopping the host.
// Knows nothing of guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <signal.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

namespace virtine::os {

/// While one lives, SIGPIPE and SIGXFSZ of this thread's own writes do nothing. A guest could
/// otherwise end the host by writing to a pipe that nobody reads, or beyond RLIMIT_FSIZE. SIGTTIN
/// and SIGTTOU are blocked, so that a host in the background, whose guest uses the terminal, is
/// not stopped: the kernel then sends none.
class quiet_signals {
 public:
  quiet_signals() {
    sigemptyset(&quiet_);
    sigaddset(&quiet_, SIGPIPE);
    sigaddset(&quiet_, SIGXFSZ);
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    // One that waits already is not ours to take.
    if (sigismember(&pending, SIGPIPE) == 1) sigdelset(&quiet_, SIGPIPE);
    if (sigismember(&pending, SIGXFSZ) == 1) sigdelset(&quiet_, SIGXFSZ);
    sigset_t blocked = quiet_;
    sigaddset(&blocked, SIGTTIN);
    sigaddset(&blocked, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  quiet_signals(const quiet_signals&) = delete;
  quiet_signals& operator=(const quiet_signals&) = delete;
  ~quiet_signals() {
    const timespec none{};
    while (sigtimedwait(&quiet_, nullptr, &none) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t quiet_;
  sigset_t before_;
};

/// Returns what `write` returns, or the negative errno if that is negative.
template <class Write>
std::int64_t quietly(const Write& write) {
  const quiet_signals quiet;
  const std::int64_t made = write();
  return made < 0 ? -std::int64_t{errno} : made;
}

}  // namespace virtine::os
