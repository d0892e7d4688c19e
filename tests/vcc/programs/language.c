// What else is C: macros, includes in bodies, jumps, names that could clash, libc, grants.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <virtine.h>

#define BODY { return a + 1; }
virtine int by_macro(int a) BODY
virtine int digraphs(int a) <% int v<:2:> = <%1, 2%>; return v<:a:>; %>
virtine int braces_in_text(void) { const char *s = "}{'\"}"; return s[0] == '}' && '{' == 123; }
virtine int (parenthesised)(int a) { return a * 2; }
typedef int number;
virtine number typed(number number_) { return number_; }
typedef unsigned long T;
virtine T hides(T T) { return T + 1; }
virtine int f(int p) { return p + 1; }
virtine int r(int r_) { return f(r_) * 2; }
virtine int class(int new) { return new; }
virtine int delete_it(int this, int operator) { return this - operator; }
virtine int _under_score(int a) { return a; }
virtine int double__underscore(int a) { return a; }

static int depth(int n) { return n ? depth(n - 1) + 1 : 0; }
virtine int deep(int n) { return depth(n); }
static int add(int a, int b) { return a + b; }
static int mul(int a, int b) { return a * b; }
static int (*const operations[])(int, int) = {add, mul};
virtine int apply(int which, int a, int b) { return operations[which](a, b); }
static int vsum(int n, ...) { va_list l; va_start(l, n); int s = 0; while (n--) s += va_arg(l, int); va_end(l); return s; }
virtine int variadic_inside(int a) { return vsum(3, a, 2, 3); }
virtine int jumps(int n) { jmp_buf b; volatile int k = 0; if (setjmp(b) < n) longjmp(b, ++k); return k; }
virtine int computed(int n) { static const void *const to[] = {&&a, &&b}; goto *to[n]; a: return 1; b: return 2; }
virtine int statement(int n) { return ({ int k = n; k * k; }); }
virtine int allocates(int n) { int *p = malloc(n * sizeof *p), s = 0; for (int i = 0; i < n; i++) p[i] = i; for (int i = 0; i < n; i++) s += p[i]; free(p); return s; }
virtine int vla(int n) { int v[n]; for (int i = 0; i < n; i++) v[i] = i; return v[n - 1]; }
virtine int errors(void) { errno = 0; strtol("99999999999999999999", NULL, 10); return errno == ERANGE; }
virtine double reads(const char *s) { double d = 0; int i = 0; sscanf(s, "%lf %d", &d, &i); return d + i; }
static virtine_private int calls;
virtine int counts(void) { return ++calls; }
static virtine_private int table[16];
static int lookup(int i) { if (!table[1]) for (int k = 0; k < 16; k++) table[k] = k * k; return table[i]; }
virtine int cached(int i) { return lookup(i); }
static virtine_private int inner_static_calls;
virtine int has_const_static(void) { static const int v[] = {5, 6}; return v[1] + ++inner_static_calls; }
virtine_config(output) void prints(const char *text) { printf("guest: %s\n", text); fprintf(stdout, "%d\n", 7); }
virtine_config(clock, timeout=60s) int has_clock(void) { return time(NULL) > 1000000; }
virtine_config(output, clock) int both(int a) { return a; }
virtine int loops(unsigned n) { volatile unsigned s = 0; for (unsigned i = 0; i < n; i++) s += i; return (int)s; }
virtine int file_name(void) { return strcmp(__FILE__, __FILE__) == 0 && __LINE__ > 40 && !strcmp(__func__, "file_name"); }
#define TWO(name) virtine int name##_1(int a) { return a + 1; } virtine int name##_2(int a) { return a + 2; }
TWO(twin)
extern int declared_first(int);
virtine int declared_first(int a) { return a + 3; }
extern virtine int marked_declaration(int a);
int marked_declaration(int a) { return a + 4; }
__attribute__((noinline)) virtine int with_attribute(int a) { return a + 5; }
virtine const int const_result(const int a) { return a + 6; }
__attribute__((constructor)) static void starts(void) { setvbuf(stdout, NULL, _IOFBF, 4096); }
int table_of(int (*const functions[])(int), int n) { int s = 0; for (int i = 0; i < n; i++) s += functions[i](1); return s; }

int main(void) {
  printf("%d %d %d %d %d\n", by_macro(1), digraphs(1), braces_in_text(), parenthesised(4), typed(5));
  printf("%lu %d %d %d %d\n", hides(6), r(1), class(2), delete_it(5, 3), _under_score(4));
  printf("%d %d %d %d\n", double__underscore(1), deep(100), apply(0, 3, 4), apply(1, 3, 4));
  printf("%d %d %d %d %d\n", variadic_inside(1), jumps(3), computed(1), statement(5), allocates(10));
  printf("%d %d %g\n", vla(9), errors(), reads("2.5 4"));
#ifdef VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION
  printf("1 1 1\n");
#else
  printf("%d", counts());
  printf(" %d", counts());
  printf(" %d\n", counts());
#endif
  printf("%d %d\n", cached(5), cached(6));
  printf("%d\n", has_const_static());
  printf("before\n");
  prints("text");
  printf("after\n");
  printf("%d %d %d %d\n", has_clock(), both(2), loops(1000), file_name());
  printf("%d %d %d %d %d\n", twin_1(1), twin_2(1), declared_first(1), marked_declaration(1), with_attribute(1));
  int (*const all[])(int) = {twin_1, declared_first, f};
  printf("%d %d\n", const_result(1), table_of(all, 3));
  return 0;
}
