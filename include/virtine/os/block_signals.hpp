// Threads that the library starts take no signals. Knows nothing of what they do.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <pthread.h>
#include <signal.h>

#include <initializer_list>

namespace virtine::os {

/// While one exists this thread, and all that it starts for as long as they live, block signals: a
/// signal meant for the program's own threads must not run its handler on one of the library's, nor
/// be consumed there. Open are those that an instruction of the thread itself raises, because a
/// program's handler for these (a crash reporter's, a garbage collector's) has to see them wherever
/// its code runs.
class block_signals {
 public:
  block_signals() {
    sigset_t all;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&all, own);
    // Sound: changes this thread's mask only, and remembers what it was.
    pthread_sigmask(SIG_BLOCK, &all, &before_);
  }
  block_signals(const block_signals&) = delete;
  block_signals& operator=(const block_signals&) = delete;
  // Sound: the mask as it was.
  ~block_signals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace virtine::os
