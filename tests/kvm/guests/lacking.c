// A library that names what no guest has. Each case says whether the function did as POSIX allows.
// SPDX-License-Identifier: MIT

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

static void* run(void* argument) {
  return argument;
}

static int fails(long result, int why) {
  return result == -1 && errno == why;
}

int lacking(int what) {
  pthread_t thread = 0;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  struct addrinfo* found = NULL;
  struct itimerval once = {0};
  struct sigaction action = {0};
  sigset_t set;
  int other = 0;
  switch (what) {
    case 0:
      return pthread_create(&thread, NULL, run, NULL) == EAGAIN;
    case 1:
      return pthread_join(thread, NULL) == ESRCH;
    case 2:
      return fails(socket(AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT);
    case 3:
      return fails(connect(0, NULL, 0), ENOTSOCK);
    case 4:
      return getaddrinfo("host", "http", NULL, &found) == EAI_FAIL;
    case 5:
      return gethostbyname("host") == NULL && h_errno == NO_RECOVERY;
    case 6:
      return fails(fork(), ENOSYS);
    case 7:
      return fails(execl("/bin/sh", "sh", NULL), ENOSYS);
    case 8:
      return system(NULL) == 0 && fails(system("true"), ENOSYS);
    case 9:
      return popen("true", "r") == NULL && errno == ENOSYS;
    case 10:
      return fails(waitpid(-1, &other, 0), ECHILD);
    case 11:
      return dlopen("libz.so", RTLD_NOW) == NULL && strlen(dlerror()) > 5;
    case 12:
      return signal(SIGINT, SIG_IGN) == SIG_ERR;
    case 13:
      return fails(sigaction(SIGINT, &action, NULL), ENOSYS);
    case 14:
      return fails(kill(1, SIGTERM), EPERM);
    case 15:
      sigfillset(&set);
      return sigprocmask(SIG_BLOCK, &set, &set) == 0 && sigismember(&set, SIGINT) == 0;
    case 16:
      return fails(setitimer(ITIMER_REAL, &once, NULL), ENOSYS);
    case 17:
      return dlsym(NULL, "deflate") == NULL;
    case 100:
      return pthread_cond_wait(&condition, &mutex);
    case 101:
      return raise(SIGINT);
    case 102:
      return (int)alarm(1);
    case 103:
      return pause();
    case 104:
      return sigwait(&set, &other);
    default:
      return 0;
  }
}
