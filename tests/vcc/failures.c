// What a call that goes wrong does. Each case runs in a child, which must end with one line on
// stderr that has the text expected, and the documented status. Prints what did not.
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <virtine.h>

enum level { low, high, top };
struct flags { bool on; enum level level; };

virtine int crash(int n) { return *(volatile int *)(long)(n * 8); }
virtine int divide(int a, int b) { return a / b; }
virtine int recurse(int n) { volatile char room[4096]; room[0] = (char)n; return n == 0 ? room[0] : recurse(n + 1) + room[0]; }
virtine int aborts(void) { abort(); }
virtine int exits(int status) { exit(status); }
virtine_config(timeout=200ms) int spins(void) { for (volatile int i = 1;; i = 1) if (!i) return 1; }
virtine int prints(void) { return printf("to the host\n"); }
virtine int opens(void) { return fopen("/etc/passwd", "r") != NULL; }
virtine int randoms(void) { char c; return (int)getrandom(&c, 1, 0); }
virtine_config(output) int clock_only(void) { return (int)time(NULL); }
virtine long sum(long n, const int v[n]) { long s = 0; for (long i = 0; i < n; i++) s += v[i]; return s; }
virtine int corner(int n, int m, const int v[n * m]) { return v[n * m - 1]; }
virtine int rows(int n, int m, int v[n][m]) { return v[0][0]; }
virtine void behind(int n, char s[n]) { s[n] = 0; }
virtine void before(int n, int v[n]) { (v - 1)[0] = 1; }
virtine void between(int n, int v[n], int w[n]) { w[-1] = v[0]; }
virtine void swap(int *a, int *b) { int t = *a; *a = *b; *b = t; }
virtine void shift(int n, int to[n], const int from[n]) { for (int i = 0; i < n; i++) to[i] = from[i] + 1; }
virtine int copy(const char *from, int n, char to[n]) { return snprintf(to, (size_t)n, "%s", from); }
virtine struct flags wrong_bool(void) { struct flags f; memset(&f, 37, sizeof f); return f; }
virtine enum level wrong_enum(int n) { return (enum level)n; }
virtine void wrong_member(struct flags *f) { memset(&f->on, 2, 1); }
virtine void wrong_element(int n, enum level v[n]) { v[n - 1] = (enum level)99; }
virtine int null(const int *p) { return *p; }
virtine int deep_host_pointer(unsigned long address) { return *(const int *)address; }

static int ones[4] = {1, 1, 1, 1};
static int value = 5;

static void try_null(void) { null(NULL); }
static void try_crash(void) { crash(1); }
static void try_divide(void) { divide(1, 0); }
static void try_recurse(void) { recurse(1); }
static void try_aborts(void) { aborts(); }
static void try_exits(void) { exits(3); }
static void try_spins(void) { spins(); }
static void try_prints(void) { prints(); }
static void try_opens(void) { opens(); }
static void try_randoms(void) { randoms(); }
static void try_clock_only(void) { clock_only(); }
static void try_negative(void) { sum(-1, ones); }
static void try_huge(void) { sum(LONG_MAX, ones); }
static void try_large(void) { sum(1L << 30, ones); }
static void try_overflow(void) { corner(65536, 65537, ones); }
static void try_negative_row(void) { rows(1, -1, (void *)ones); }
static void try_behind(void) { char s[4] = "abc"; behind(4, s); }
static void try_before(void) { before(4, ones); }
static void try_between(void) { int w[2] = {0}; between(2, ones, w); }
static void try_same(void) { swap(&value, &value); }
static void try_overlap(void) { shift(3, ones + 1, ones); }
static void try_overlapping_text(void) { char s[8] = "abc"; copy(s, 8, s); }
static void try_wrong_bool(void) { wrong_bool(); }
static void try_wrong_enum(void) { wrong_enum(37); }
static void try_wrong_member(void) { struct flags f = {true, low}; wrong_member(&f); }
static void try_wrong_element(void) { enum level v[3] = {low, low, low}; wrong_element(3, v); }
static void try_host_pointer(void) { deep_host_pointer((unsigned long)&value); }
static void try_in_child(void) { if (fork() == 0) divide(1, 0); int s; wait(&s); exit(WEXITSTATUS(s)); }
static void again(void) { divide(1, 0); }
static void try_at_exit(void) { atexit(again); divide(2, 0); }
static void hear(const virtine_failure *f) { fprintf(stderr, "heard %s of %s\n", f->reason, f->function); exit(9); }
static void try_handler(void) { virtine_on_failure(hear); divide(1, 0); }
static void hear_only(const virtine_failure *f) { fprintf(stderr, "heard %s\n", f->reason); }
static void try_handler_returns(void) { virtine_on_failure(hear_only); divide(1, 0); }

static const struct { const char *name; void (*run)(void); int status; const char *text; } cases[] = {
    {"null", try_null, 70, "the call of null() failed: guest_fault: null pointer access reading 0x0"},
    {"crash", try_crash, 70, "the call of crash() failed: guest_fault"},
    {"divide", try_divide, 70, "guest_fault: divide error"},
    {"recurse", try_recurse, 70, "guest_fault: stack overflow"},
    {"aborts", try_aborts, 70, "the call of aborts() failed"},
    {"exits", try_exits, 70, "exited: the guest ended itself with status 3; a marked function has to return"},
    {"spins", try_spins, 70, "timed_out"},
    {"prints", try_prints, 70, "write `virtine_config(output)` before the function"},
    {"opens", try_opens, 70, "system_call_denied: the guest made system call open"},
    {"randoms", try_randoms, 70, "system_call_denied: the guest made system call getrandom"},
    {"clock of another grant", try_clock_only, 70, "system_call_denied: the guest made system call clock_gettime"},
    {"negative", try_negative, 70, "the size of 'v' is negative"},
    {"huge", try_huge, 70, "the size of 'v', 9223372036854775807, is too large"},
    {"large", try_large, 70, "arguments_too_large: the arguments take 4294"},
    {"overflow", try_overflow, 70, "arguments_too_large: the arguments take 17180"},
    {"negative row", try_negative_row, 70, "the size of 'v' is negative"},
    {"behind", try_behind, 70, "bad_reply: it wrote behind the 4 bytes that 's' points to"},
    {"before", try_before, 70, "bad_reply: it wrote before the 16 bytes that 'v' points to"},
    {"between", try_between, 70, "bad_reply: it wrote before the 8 bytes that 'w' points to"},
    {"same", try_same, 70, "bad_argument: 'a' and 'b' overlap"},
    {"overlap", try_overlap, 70, "bad_argument: 'to' and 'from' overlap"},
    {"overlapping text", try_overlapping_text, 70, "bad_argument: 'from' and 'to' overlap"},
    {"wrong bool", try_wrong_bool, 70, "bad_reply: its result has "},
    {"wrong enum", try_wrong_enum, 70, "bad_reply: its result has 37"},
    {"wrong member", try_wrong_member, 70, "bad_reply: what 'f' points to has 2"},
    {"wrong element", try_wrong_element, 70, "bad_reply: what 'v' points to has 99"},
    {"host's pointer", try_host_pointer, 70, "guest_fault: access to unmapped memory"},
    {"in a child", try_in_child, 70, "divide() failed"},
    {"at exit", try_at_exit, 70, "divide() failed"},
    {"handler", try_handler, 9, "heard guest_fault of divide"},
    {"handler returns", try_handler_returns, 70, "heard guest_fault"},
};

static int check(unsigned i) {
  int ends[2];
  if (pipe(ends)) return 1;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    cases[i].run();
    _exit(0);
  }
  close(ends[1]);
  char said[4096] = "";
  size_t n = 0;
  for (ssize_t got; (got = read(ends[0], said + n, sizeof said - 1 - n)) > 0;) n += (size_t)got;
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == cases[i].status && strstr(said, cases[i].text)) return 0;
  printf("%s: status %#x, said: %s\n", cases[i].name, status, said);
  return 1;
}

static int check_try(void) {
  virtine_failure failure;
  int nine = 1, bad = 0;
  if (virtine_try(&failure, nine = divide(27, 3)) || nine != 9) bad |= 1;
  if (!virtine_try(&failure, nine = divide(1, 0)) || nine != 0) bad |= 2;
  if (strcmp(failure.reason, "guest_fault") || !strstr(failure.text, "failures.c:")) bad |= 4;
  // The outer call is not made with what the inner one did not give.
  if (!virtine_try(&failure, nine = divide(7, divide(1, 0))) || strcmp(failure.function, "divide")) bad |= 8;
  virtine_failure inner;
  if (virtine_try(&failure, nine = virtine_try(&inner, divide(1, 0)) + divide(4, 2)) || nine != 3) bad |= 16;
  if (ones[0] != 1 || ones[3] != 1) bad |= 32;
  // What the guest wrote before it failed does not reach the program.
  int v[2] = {3, 3};
  if (!virtine_try(&failure, before(2, v)) || v[0] != 3) bad |= 64;
  if (sum(4, ones) != 4) bad |= 128;
  if (bad) printf("virtine_try: %#x\n", bad);
  return bad;
}

int main(void) {
  int bad = 0;
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) bad |= check(i);
  bad |= check_try();
  printf(bad ? "failed\n" : "all failed as they should\n");
  return bad;
}
