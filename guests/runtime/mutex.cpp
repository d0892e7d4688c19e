// Mutexes where there is one thread, in objects of glibc's layout: the archives of a distribution
// were built for it and have recursive ones that nothing initialises. An object of zeros is a plain
// mutex for musl as well, whose size is the same.
// Must not know who locks. Nothing ever waits: nobody could unlock meanwhile. All are weak: an
// image may bring its own.
// SPDX-License-Identifier: MIT

#include <cerrno>
#include <climits>
#include <cstring>

#include <pthread.h>
#include <threads.h>

#include <virtine/abi/abort_reason.hpp>

#define WEAK [[gnu::weak]]

namespace {

struct mutex {
  int locked;
  unsigned count;  // How often more, if it is recursive.
  int owner;
  unsigned users;
  int kind;
};
static_assert(sizeof(mutex) <= sizeof(pthread_mutex_t));
static_assert(sizeof(pthread_mutex_t) == 40 && sizeof(mtx_t) == 40);

enum : int { normal, recursive, checking, adaptive, kinds };  // The same in both libraries.

mutex& of(void* object) {
  return *static_cast<mutex*>(object);  // Sound: whoever has one has its 40 bytes.
}

int kind_of(const mutex& one) {
  return one.kind & (kinds - 1);
}

/// Returns 0, or EBUSY if that would wait.
int take(mutex& one) {
  if (one.locked == 0) {
    one.locked = 1;
    return 0;
  }
  if (kind_of(one) != recursive) return EBUSY;
  if (one.count == UINT_MAX) return EAGAIN;
  ++one.count;
  return 0;
}

int give(mutex& one) {
  if (one.locked == 0) return kind_of(one) == normal || kind_of(one) == adaptive ? 0 : EPERM;
  if (one.count != 0) {
    --one.count;
  } else {
    one.locked = 0;
  }
  return 0;
}

/// Locks, or ends the call: it would wait for itself until its deadline.
[[gnu::always_inline]] inline int lock(mutex& one) {
  const int why = take(one);
  if (why != EBUSY) return why;
  if (kind_of(one) == checking) return EDEADLK;
  using virtine::x86::abort_reason;
  virtine::x86::end_call<abort_reason::aborted>(__builtin_return_address(0));
}

/// Nobody could unlock it in time.
int lock_in_time(mutex& one) {
  const int why = take(one);
  return why != EBUSY ? why : kind_of(one) == checking ? EDEADLK : ETIMEDOUT;
}

int set_up(mutex& one, int kind) {
  std::memset(&one, 0, sizeof(pthread_mutex_t));
  one.kind = kind;
  return 0;
}

int thread_result(int why) {
  return why == 0           ? thrd_success
         : why == EBUSY     ? thrd_busy
         : why == ETIMEDOUT ? thrd_timedout
                            : thrd_error;
}

}  // namespace

extern "C" {

WEAK int pthread_mutex_init(pthread_mutex_t* __restrict one,
                            const pthread_mutexattr_t* __restrict how) {
  int kind = normal;
  if (how != nullptr) pthread_mutexattr_gettype(how, &kind);
  return set_up(of(one), kind);
}
WEAK int pthread_mutex_destroy(pthread_mutex_t* one) {
  return of(one).locked != 0 ? EBUSY : 0;
}
WEAK int pthread_mutex_lock(pthread_mutex_t* one) {
  return lock(of(one));
}
WEAK int pthread_mutex_trylock(pthread_mutex_t* one) {
  return take(of(one));
}
WEAK int pthread_mutex_timedlock(pthread_mutex_t* __restrict one, const timespec* __restrict) {
  return lock_in_time(of(one));
}
WEAK int pthread_mutex_clocklock(pthread_mutex_t* __restrict one, clockid_t,
                                 const timespec* __restrict) {
  return lock_in_time(of(one));
}
WEAK int pthread_mutex_unlock(pthread_mutex_t* one) {
  return give(of(one));
}
WEAK int pthread_mutex_consistent(pthread_mutex_t*) {
  return EINVAL;  // No owner ever died.
}

WEAK int mtx_init(mtx_t* one, int kind) {
  return set_up(of(one), (kind & mtx_recursive) != 0 ? recursive : normal);
}
WEAK void mtx_destroy(mtx_t*) {}
WEAK int mtx_lock(mtx_t* one) {
  return thread_result(lock(of(one)));
}
WEAK int mtx_trylock(mtx_t* one) {
  return thread_result(take(of(one)));
}
WEAK int mtx_timedlock(mtx_t* __restrict one, const timespec* __restrict) {
  return thread_result(lock_in_time(of(one)));
}
WEAK int mtx_unlock(mtx_t* one) {
  return thread_result(give(of(one)));
}

// musl's own names for them.
#define SAME_AS(name) [[gnu::weak, gnu::alias(#name)]]
SAME_AS(pthread_mutex_lock) int __pthread_mutex_lock(pthread_mutex_t*);
SAME_AS(pthread_mutex_trylock) int __pthread_mutex_trylock(pthread_mutex_t*);
SAME_AS(pthread_mutex_trylock) int __pthread_mutex_trylock_owner(pthread_mutex_t*);
SAME_AS(pthread_mutex_timedlock)
int __pthread_mutex_timedlock(pthread_mutex_t* __restrict, const timespec* __restrict);
SAME_AS(pthread_mutex_unlock) int __pthread_mutex_unlock(pthread_mutex_t*);
}
