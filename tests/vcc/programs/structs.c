// Structs and unions, by value and by pointer; padding, bit-fields, anonymous members.
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <virtine.h>

struct padded { char a; int b; char c; double d; };
struct nested { struct padded p[2]; union { int i; float f; }; struct { short x, y; }; char name[12]; };
struct bits { unsigned a : 3; int b : 5; _Bool c : 1; unsigned long d : 40; };
struct packed { char a; int b; } __attribute__((packed));
struct aligned { char a; } __attribute__((aligned(64)));
typedef struct { int x, y; } point;
typedef union { int i; unsigned char bytes[8]; } overlay;
struct empty {};
struct large { int values[1000]; };
struct mood { bool is_good; enum { low, high } level; long double exact; };
typedef int v4 __attribute__((vector_size(16)));

virtine struct padded turn(struct padded p) { p.a++; p.b = -p.b; p.d *= 2; return p; }
virtine int total(struct nested n) { return n.p[0].b + n.p[1].b + n.i + n.x + n.y + (int)strlen(n.name); }
virtine struct bits pack(int a, int b, int d) { struct bits out = {.a = a, .b = b, .c = 1, .d = d}; return out; }
virtine int unpack(struct bits b) { return (int)(b.a + b.b + b.c + b.d); }
virtine struct packed swap(struct packed p) { return (struct packed){(char)p.b, p.a}; }
virtine struct aligned same(struct aligned a) { a.a++; return a; }
virtine void move(point *p, const point *by) { p->x += by->x; (*p).y += by->y; }
virtine int first(const point *p) { return p ? p[0].x : -1; }
virtine overlay lay(overlay o) { o.bytes[1] = 1; return o; }
virtine long sum_large(struct large l) { long s = 0; for (int i = 0; i < 1000; i++) s += l.values[i]; return s; }
virtine struct large fill(int with) { struct large l; for (int i = 0; i < 1000; i++) l.values[i] = with + i; return l; }
virtine struct mood cheer(struct mood m) { m.is_good = !m.is_good; m.level = high; m.exact += 1; return m; }
virtine void cheer_all(int n, struct mood m[n]) { for (int i = 0; i < n; i++) m[i] = cheer(m[i]); }
virtine v4 add4(v4 a, v4 b) { return a + b; }
virtine int set(int *value, int to) { int old = *value; *value = to; return old; }
virtine int maybe(int *value) { if (!value) return 0; (*value)++; return 1; }
virtine void reset(point *p) { memset(p, 0, sizeof *p); }
static void helper(point *p) { p->x = 42; }
virtine void by_helper(point *p) { helper(p); }
virtine int has_clean_padding(const struct padded *p) {
  const unsigned char *bytes = (const unsigned char *)p;
  return bytes[1] == 0 && bytes[2] == 0 && bytes[3] == 0;
}

int main(void) {
  struct padded p = {'a', 7, 'c', 2.5};
  p = turn(p);
  printf("%c %d %c %g\n", p.a, p.b, p.c, p.d);
  struct nested n = {.p = {{.b = 1}, {.b = 2}}, .i = 3, .x = 4, .y = 5, .name = "seven"};
  printf("%d\n", total(n));
  struct bits b = pack(5, -3, 1000);
  printf("%d %d %d %lu %d\n", b.a, b.b, b.c, (unsigned long)b.d, unpack(b));
  struct packed k = swap((struct packed){3, 4});
  struct aligned l = same((struct aligned){9});
  printf("%d %d %d\n", k.a, k.b, l.a);
  point q = {1, 2};
  move(&q, &(point){10, 20});
  printf("%d %d %d %d\n", q.x, q.y, first(&q), first(NULL));
  overlay o = lay((overlay){.i = 5});
  printf("%d\n", o.i);
  printf("%ld\n", sum_large(fill(3)));
  struct mood m[2] = {{true, low, 1.5L}, {false, high, 2.5L}};
  m[0] = cheer(m[0]);
  cheer_all(2, m);
  printf("%d %d %Lg %d %d %Lg\n", m[0].is_good, m[0].level, m[0].exact, m[1].is_good, m[1].level, m[1].exact);
  v4 v = add4((v4){1, 2, 3, 4}, (v4){10, 20, 30, 40});
  printf("%d %d\n", v[0], v[3]);
  int value = 5;
  int old = set(&value, 6);
  printf("%d %d %d", old, value, maybe(NULL));
  printf(" %d", maybe(&value));
  printf(" %d\n", value);
  by_helper(&q);
  printf("%d\n", q.x);
  reset(&q);
  printf("%d %d\n", q.x, q.y);
  struct padded dirty;
  memset(&dirty, 0x5a, sizeof dirty);
#ifdef VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION
  printf("1\n");
#else
  printf("%d\n", has_clean_padding(&dirty));
#endif
  return 0;
}
