// Starts musl as its own start-up code would, with what a guest has: no arguments, no environment,
// pages of 4096 bytes, and a thread whose pointer the trampoline has set already.
// Must not know who needs it.
// SPDX-License-Identifier: MIT

#include <elf.h>
#include <errno.h>
#include <stddef.h>

extern int virtine_thread[128];

// musl's own, in __libc_start_main.c and __init_tls.c.
void __init_libc(char** environment, char* program);
int __init_tp(void* thread);

int __set_thread_area(void* thread) {
  (void)thread;
  return 0;
}

void __init_tls(size_t* auxiliary) {
  (void)auxiliary;
  __init_tp(virtine_thread);
  // It keeps the answer to set_tid_address, which an initialiser does not get, as the thread's
  // number, in a place that only it knows.
  for (size_t i = 0; i != sizeof virtine_thread / sizeof *virtine_thread; ++i) {
    if (virtine_thread[i] == -ENOSYS) virtine_thread[i] = 1;
  }
}

void virtine_start_libc(void) {
  // The environment, which is empty, and behind it the auxiliary vector. They stay in use.
  static size_t handed_over[] = {0, AT_PAGESZ, 4096, AT_NULL, 0};
  __init_libc((char**)handed_over, "");
}
