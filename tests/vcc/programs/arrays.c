// Arrays of all shapes, texts, NULL.
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <virtine.h>

#define N 4
typedef double vec3[3];
enum { rows = 2 };
static const int weights[] = {1, 2, 3, 4};

virtine long sum(int n, const int v[n]) { long s = 0; for (int i = 0; i < n; i++) s += v[i]; return s; }
virtine long sum_after(const int *v virtine_size(n), int n) { long s = 0; while (n-- > 0) s += *v++; return s; }
virtine void scale(int n, double v[n], double by) { for (int i = 0; i < n; i++) v[i] *= by; }
virtine int fixed(const int v[N]) { return v[0] * weights[0] + v[N - 1] * weights[N - 1]; }
virtine double norm(const vec3 v) { return v[0] * v[0] + v[1] * v[1] + v[2] * v[2]; }
virtine void flip(int n, vec3 v[n]) { for (int i = 0; i < n; i++) for (int k = 0; k < 3; k++) v[i][k] = -v[i][k]; }
virtine int trace(int n, const int m[n][n]) { int t = 0; for (int i = 0; i < n; i++) t += m[i][i]; return t; }
virtine void transpose(int n, int m, const int a[n][m], int out[m][n]) {
  for (int i = 0; i < n; i++) for (int k = 0; k < m; k++) out[k][i] = a[i][k];
}
virtine int cube(int n, const short c[n][rows][3]) { return c[n - 1][1][2]; }
virtine int at_least(int n, const int v[static n], int i) { return v[i]; }
virtine int padded(int n, int m, const int v[n * m + 1]) { return v[n * m]; }
virtine int old_style(v, n) int n; int v[n]; { int s = 0; for (int i = 0; i < n; i++) s += v[i]++; return s; }
virtine size_t length(const char *s) { return s ? strlen(s) : 99; }
virtine int vowels(const char *text) { int n = 0; for (; *text; text++) n += strchr("aeiou", *text) != NULL; return n; }
virtine void upper(size_t n, char s[n]) { for (size_t i = 0; i < n && s[i]; i++) s[i] = (char)toupper((unsigned char)s[i]); }
virtine uint32_t hash(const void *data virtine_size(size), size_t size) {
  const unsigned char *p = data;
  uint32_t h = 2166136261u;
  while (size--) h = (h ^ *p++) * 16777619u;
  return h;
}
virtine void zero(void *data virtine_size(size), size_t size) { memset(data, 0, size); }
virtine int is_null(int n, const int v[n]) { return v == NULL; }
virtine int by_name(const char *name virtine_string, int len) { return (int)strlen(name) == len; }
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
virtine void sort(int n, int v[n]) { qsort(v, (size_t)n, sizeof *v, compare); }
virtine long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
struct batch { int count; };
virtine int by_member(const struct batch *b, const int *v virtine_size(b->count)) { int s = 0; for (int i = 0; i < b->count; i++) s += v[i]; return s; }
virtine int join(const char *a, const char *b, size_t room, char out[room]) { return snprintf(out, room, "%s-%s", a, b); }
virtine unsigned long long big(size_t n, const unsigned char v[n]) { unsigned long long s = 0; for (size_t i = 0; i < n; i++) s += v[i]; return s; }
virtine long third_of(int n, int m, const int v[n > m ? n : m]) { return v[m > n ? m - 1 : n - 1]; }

int main(void) {
  int v[] = {4, 3, 2, 1};
  double d[] = {1, 2, 3};
  printf("%ld %ld %ld %d\n", sum(4, v), sum(0, v), sum_after(v, 3), fixed(v));
  scale(3, d, 1.5);
  printf("%g %g %g %g\n", d[0], d[1], d[2], norm(d));
  vec3 two[2] = {{1, 2, 3}, {4, 5, 6}};
  flip(2, two);
  printf("%g %g\n", two[0][0], two[1][2]);
  int m[2][3] = {{1, 2, 3}, {4, 5, 6}}, t[3][2];
  transpose(2, 3, m, t);
  printf("%d %d %d %d\n", t[0][1], t[2][0], t[2][1], trace(2, (const int[2][2]){{1, 2}, {3, 4}}));
  short c[3][2][3] = {{{0}}};
  c[2][1][2] = 77;
  printf("%d %d %d\n", cube(3, c), at_least(4, v, 2), padded(1, 3, v));
  printf("%d", old_style(v, 4));
  printf(" %d\n", v[0]);
  printf("%zu %zu %zu %d\n", length("hello"), length(""), length(NULL), vowels("education"));
  char text[] = "shout";
  upper(sizeof text, text);
  printf("%s %x %x\n", text, hash("abc", 3), hash(NULL, 0));
  zero(text + 1, 2);
  printf("%c%d%d%c\n", text[0], text[1], text[2], text[3]);
  printf("%d %d %d\n", is_null(3, NULL), is_null(4, v), by_name("four", 4));
  sort(4, v);
  printf("%d %d %d %d\n", v[0], v[1], v[2], v[3]);
  printf("%ld %d\n", fib(15), by_member(&(struct batch){3}, v));
  char joined[20];
  int n = join("left", "right", sizeof joined, joined);
  printf("%d %s\n", n, joined);
  size_t size = 3 << 20;
  unsigned char *large = malloc(size);
  memset(large, 1, size);
  printf("%llu %ld\n", big(size, large), third_of(2, 4, v));
  free(large);
  long (*pointer)(int, const int *) = sum;
  printf("%ld\n", pointer(2, v));
  return 0;
}
