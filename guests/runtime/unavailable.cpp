// What POSIX has and a guest has not, for libraries that name it: each function fails as it may on
// any system, or, where it cannot fail, ends the call.
// Must not know who calls. All are weak, and virtine-cc takes them one by one: an image may bring
// its own of any.
// SPDX-License-Identifier: MIT

#include <netdb.h>
#include <threads.h>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include <virtine/abi/abort_reason.hpp>

// None looks at what it is given, so none has to say what that is.
#define FUNCTION(type, name, ...)                                    \
  extern "C" [[gnu::weak]] type virtine_without_##name() asm(#name); \
  extern "C" type virtine_without_##name() {                         \
    __VA_ARGS__                                                      \
  }
#define RETURNS(name, value) FUNCTION(long, name, return value;)
#define FAILS(name, why) FUNCTION(long, name, errno = why; return -1;)
#define FAILS_WITH_NULL(name, why) FUNCTION(void*, name, errno = why; return nullptr;)
// The place to be reported is the function itself, whose name says what is missing.
#define ENDS(name)                                                                   \
  FUNCTION([[gnu::cold]] long, name,                                                 \
           virtine::x86::end_call<virtine::x86::abort_reason::unavailable_function>( \
               reinterpret_cast<const std::byte*>(&virtine_without_##name) + 1);)

// Threads: as if there were too many.
RETURNS(pthread_create, EAGAIN)
RETURNS(pthread_join, ESRCH)
RETURNS(thrd_create, thrd_error)
RETURNS(thrd_join, thrd_error)
// Nobody would wake who waits.
ENDS(pthread_cond_wait)
ENDS(pthread_cond_timedwait)
ENDS(pthread_cond_clockwait)
ENDS(cnd_wait)
ENDS(cnd_timedwait)

// Sockets: no family of addresses is there, so no descriptor is a socket.
FAILS(socket, EAFNOSUPPORT)
FAILS(socketpair, EAFNOSUPPORT)
FAILS(connect, ENOTSOCK)
FAILS(bind, ENOTSOCK)
FAILS(listen, ENOTSOCK)
FAILS(accept, ENOTSOCK)
FAILS(accept4, ENOTSOCK)
RETURNS(getaddrinfo, EAI_FAIL)
FUNCTION(void*, gethostbyname, h_errno = NO_RECOVERY; return nullptr;)
FUNCTION(void*, gethostbyname2, h_errno = NO_RECOVERY; return nullptr;)
FUNCTION(void*, gethostbyaddr, h_errno = NO_RECOVERY; return nullptr;)

// Processes. `system` is asked by null whether there is a shell.
FAILS(fork, ENOSYS)
FAILS(vfork, ENOSYS)
FAILS(_Fork, ENOSYS)
FAILS(execl, ENOSYS)
FAILS(execle, ENOSYS)
FAILS(execlp, ENOSYS)
FAILS(execv, ENOSYS)
FAILS(execve, ENOSYS)
FAILS(execvp, ENOSYS)
FAILS(execvpe, ENOSYS)
FAILS(fexecve, ENOSYS)
FAILS(daemon, ENOSYS)
RETURNS(posix_spawn, ENOSYS)
RETURNS(posix_spawnp, ENOSYS)
FAILS_WITH_NULL(popen, ENOSYS)
FAILS(wait, ECHILD)
FAILS(waitpid, ECHILD)
extern "C" [[gnu::weak]] int virtine_without_system(const char* command) asm("system");
extern "C" int virtine_without_system(const char* command) {
  if (command == nullptr) return 0;
  errno = ENOSYS;
  return -1;
}

// Signals: none is sent, so none can be caught, and a mask has nothing to hold back.
FUNCTION(void*, signal, errno = ENOSYS; return reinterpret_cast<void*>(SIG_ERR);)
FUNCTION(void*, bsd_signal, errno = ENOSYS; return reinterpret_cast<void*>(SIG_ERR);)
FUNCTION(void*, __sysv_signal, errno = ENOSYS; return reinterpret_cast<void*>(SIG_ERR);)
FAILS(sigaction, ENOSYS)
FAILS(kill, EPERM)
FAILS(setitimer, ENOSYS)
FAILS(timer_create, ENOTSUP)
extern "C" [[gnu::weak]] int virtine_without_sigprocmask(int, const sigset_t*,
                                                         sigset_t* old) asm("sigprocmask");
extern "C" int virtine_without_sigprocmask(int, const sigset_t*, sigset_t* old) {
  if (old != nullptr) *old = {};
  return 0;
}
extern "C" [[gnu::weak]] int virtine_without_pthread_sigmask(int, const sigset_t*,
                                                             sigset_t* old) asm("pthread_sigmask");
extern "C" int virtine_without_pthread_sigmask(int, const sigset_t*, sigset_t* old) {
  if (old != nullptr) *old = {};
  return 0;
}
ENDS(alarm)
ENDS(raise)
ENDS(sigwait)
ENDS(sigsuspend)
ENDS(pause)
