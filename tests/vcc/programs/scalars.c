// Every scalar type in and out, by value.
#include <complex.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <virtine.h>
#include <wchar.h>

#define ECHO(name, type) \
  virtine type name(type value) { return value; }
ECHO(echo_bool, bool)
ECHO(echo_char, char)
ECHO(echo_schar, signed char) ECHO(echo_uchar, unsigned char)  // two on one line
ECHO(echo_short, short)
ECHO(echo_ushort, unsigned short)
ECHO(echo_int, int)
ECHO(echo_unsigned, unsigned)
ECHO(echo_long, long)
ECHO(echo_ulong, unsigned long)
ECHO(echo_llong, long long)
ECHO(echo_ullong, unsigned long long)
ECHO(echo_float, float)
ECHO(echo_double, double)
ECHO(echo_ldouble, long double)
ECHO(echo_complex, double complex)
ECHO(echo_ldcomplex, long double complex)
ECHO(echo_int128, __int128)
ECHO(echo_wchar, wchar_t)
ECHO(echo_size, size_t)
ECHO(echo_i8, int8_t)
ECHO(echo_ptrdiff, ptrdiff_t)

enum color { red, green, blue };
enum signed_color { cold = -2, warm = 3 };
enum { one = 1, many = 1000 };
typedef enum { flag_read = 1, flag_write = 2, flag_run = 4 } flags;
ECHO(echo_color, enum color)
ECHO(echo_signed_color, enum signed_color)
ECHO(echo_flags, flags)

virtine bool is_even(int n) { return n % 2 == 0; }
virtine int none(void) { return many + one; }
virtine void nothing(void) {}
static virtine int hidden(const int n, register int m) { return n + m; }
static inline virtine int in_line(int n) { return n + 1; }
virtine int old_style(a, f, c) int a; float f; char c; { return a + (int)f + c; }
virtine double many_arguments(char a, double b, short c, long double d, int e, float f, long g, bool h,
                              unsigned char i, double j, int k, int l) {
  return a + b + c + (double)d + e + f + g + h + i + j + k + l;
}
virtine float root(float x) { return sqrtf(x); }
virtine unsigned shadow(unsigned shadow_, int T) { { int shadow_ = T; return (unsigned)shadow_; } }

int main(void) {
  printf("%d %d %d %d\n", echo_bool(true), echo_bool(false), echo_char('x'), echo_char((char)-1));
  printf("%d %d %d %d\n", echo_schar(SCHAR_MIN), echo_uchar(255), echo_short(SHRT_MIN), echo_ushort(USHRT_MAX));
  printf("%d %u %ld %lu\n", echo_int(INT_MIN), echo_unsigned(UINT_MAX), echo_long(LONG_MIN), echo_ulong(ULONG_MAX));
  printf("%lld %llu\n", echo_llong(LLONG_MIN), echo_ullong(ULLONG_MAX));
  printf("%a %a %La\n", echo_float(FLT_MIN), echo_double(DBL_MAX), echo_ldouble(LDBL_MIN));
  printf("%d %d\n", isnan(echo_double(NAN)) != 0, isinf(echo_float(-INFINITY)) != 0);
  double complex z = echo_complex(1.5 - 2.5 * I);
  long double complex w = echo_ldcomplex(3 + 4 * I);
  printf("%g %g %Lg %Lg\n", creal(z), cimag(z), creall(w), cimagl(w));
  printf("%llx\n", (unsigned long long)(echo_int128((__int128)0x123456789abcdefLL << 64) >> 64));
  printf("%d %zu %d %td\n", (int)echo_wchar(L'\u20ac'), echo_size(SIZE_MAX), echo_i8(-128), echo_ptrdiff(-7));
  printf("%d %d %d %d\n", echo_color(blue), echo_signed_color(cold), echo_flags(flag_read | flag_run),
         echo_color(red));
  nothing();
  printf("%d %d %d %d %d\n", is_even(4), is_even(5), none(), hidden(1, 2), in_line(3));
  printf("%d %g\n", old_style(1, 2.5f, 3), many_arguments(1, 2, 3, 4, 5, 6, 7, true, 9, 10, 11, 12));
  printf("%g %u\n", root(2.25f), shadow(1, 7));
  return 0;
}
