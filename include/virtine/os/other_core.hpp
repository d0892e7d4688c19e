// Moves a thread off a core that another thread needs. Knows nothing of what they do.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <sched.h>

namespace virtine::os {

/// Has this thread go on on another core than `core` if it is there and may be on others: the
/// kernel likes to wake a thread where the one runs that wakes it. What cores it may be on stays as
/// it was. Does nothing where that cannot be asked for, as on a machine of more than 1024.
inline void leave_core(int core) {
  if (core < 0 || sched_getcpu() != core) return;
  cpu_set_t allowed;
  // Sound, all three: they read and change the mask of this thread only.
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(static_cast<unsigned>(core), &others);
  if (CPU_COUNT(&others) == 0 || ::sched_setaffinity(0, sizeof others, &others) != 0) return;
  static_cast<void>(::sched_setaffinity(0, sizeof allowed, &allowed));
}

}  // namespace virtine::os
