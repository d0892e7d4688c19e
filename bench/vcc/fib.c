// The paper's fib by the keyword, natively and in virtual machines: a line for each n, with the
// median time of a call in microseconds.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <virtine.h>

static int native_fib(int n) { return n < 2 ? n : native_fib(n - 1) + native_fib(n - 2); }
virtine int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
virtine int square(int n) { return n * n; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static double median(int (*call)(int), int n, int count) {
  static double times[10000];
  volatile int sink;
  for (int i = 0; i < count; i++) {
    const double before = now();
    sink = call(n);
    times[i] = now() - before;
  }
  (void)sink;
  qsort(times, (size_t)count, sizeof *times, compare);
  return times[count / 2];
}

int main(int argc, char **argv) {
  const int most = argc > 1 ? atoi(argv[1]) : 30, count = argc > 2 ? atoi(argv[2]) : 100;
  if (most > 40 || count < 1 || count > 10000) return 2;
  fib(0);
  printf("square %.2f us\n", median(square, 3, count));
  for (int n = 0; n <= most; n += n < 30 ? 5 : 1) {
    printf("fib(%d) native %.3f us, virtine %.2f us\n", n, median(native_fib, n, count), median(fib, n, count));
  }
  return 0;
}
