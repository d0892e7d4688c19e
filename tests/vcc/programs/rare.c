// What few programs have: names of the assembler's, aliases, weak and placed functions, wide types, K&R.
#include <stdio.h>
#include <virtine.h>
#include <setjmp.h>
#include <complex.h>
virtine int al(int n) __asm__("real_al");
int al(int n) { return n + 1; }
__attribute__((weak)) virtine int we(int n) { return n + 2; }
virtine int base(int n) { return n + 3; }
int ali(int n) __attribute__((alias("base")));
static int made;
__attribute__((constructor)) static void before(void) { made = base(1); }
__attribute__((section(".text.hot"))) virtine int hot(int n) { return n + 4; }
virtine int jumps(int n) { jmp_buf b; if (setjmp(b)) return 7; if (n) longjmp(b, 1); return 0; }
virtine __int128 wide(__int128 z) { return z * z; }
virtine double complex co(double complex z) { return z * z; }
typedef int quad[4];
virtine int qu(int n, quad q[n]) { int s = 0; for (int i = 0; i < n; i++) for (int j = 0; j < 4; j++) s += q[i][j]++; return s; }
virtine int kr(n, v) int n; const int v[n]; { return v[n - 1]; }
virtine int zero(int n, const int v[n]) { return n; }
struct big { char c[60000]; };
virtine int bigval(struct big b) { return b.c[59999]; }
int main(void) {
  quad q[2] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
  printf("%d %d %d %d %d %d\n", al(1), we(1), base(1), ali(1), made, hot(1));
  printf("%d %lld %g\n", jumps(1), (long long)wide(1ll << 31), creal(co(2 + 1 * I)));
  int a = qu(2, q), b = qu(2, q);
  printf("%d %d %d %d\n", a, b, kr(3, (int[]){1, 2, 3}), zero(0, (int[1]){0}));
  static struct big big; big.c[59999] = 5;
  printf("%d\n", bigval(big));
  return 0;
}
