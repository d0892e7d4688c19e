// Threads, forks and calls that come late.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <virtine.h>

virtine long sum(int n, const int v[n]) { long s = 0; for (int i = 0; i < n; i++) s += v[i]; return s; }
virtine int square(int x) { return x * x; }

static void *work(void *into) {
  long total = 0;
  for (int i = 0; i < 20; i++) total += sum(3, (const int[]){i, i, i}) + square(i);
  *(long *)into = total;
  return NULL;
}
static void late(void) { printf("late %d\n", square(9)); }
static int in_child(int depth) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    printf("child %d: %d\n", depth, square(depth));
    if (depth > 1) in_child(depth - 1);
    fflush(stdout);
    _exit(square(depth));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

int main(void) {
  atexit(late);
  long totals[4];
  pthread_t threads[4];
  printf("%d\n", square(3));
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, &totals[i]);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  printf("%ld %ld %ld %ld\n", totals[0], totals[1], totals[2], totals[3]);
  printf("%d\n", in_child(3));
  printf("%d\n", square(4));
  return 0;
}
