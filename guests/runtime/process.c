// What C programs and libstdc++ ask of the process that they are, which a call of a guest is not.
// Must not know the guest.
// SPDX-License-Identifier: MIT

#include <stdlib.h>

__attribute__((weak)) void virtine_flush(void);

void* __dso_handle = &__dso_handle;
char __libc_single_threaded = 1;

// Destructors of objects that live to the end have nothing to do: the machine is wiped.
int atexit(void (*function)(void)) {
  (void)function;
  return 0;
}
int __cxa_atexit(void (*function)(void*), void* argument, void* object) {
  (void)function, (void)argument, (void)object;
  return 0;
}
int __cxa_thread_atexit_impl(void (*function)(void*), void* argument, void* object) {
  (void)function, (void)argument, (void)object;
  return 0;
}

_Noreturn void exit(int status) {
  if (virtine_flush) virtine_flush();
  _Exit(status);
}
