// Locales that two C libraries can read. libstdc++.a and the archives of a distribution were built
// with glibc, whose inline functions and objects look into a locale: for tables at offsets of
// glibc's, and for what glibc's nl_langinfo_l knows beyond POSIX. musl's functions look into the
// same object for a map of each category. There are two locales, "C" and "C.UTF-8", which differ in
// LC_CTYPE alone; both are static, so nothing is ever allocated or freed.
// Must not know libstdc++.
// SPDX-License-Identifier: MIT

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

// musl's, in every object of it that has to do with locales.
struct map;
extern const struct map __c_dot_utf8;
extern const unsigned short** __ctype_b_loc(void);

enum { CATEGORIES = 6, GLIBC_CATEGORIES = 13 };

struct locale {
  const struct map* maps[CATEGORIES];  // musl's struct __locale_struct: null is the "C" locale.
  void* glibc_data[GLIBC_CATEGORIES - CATEGORIES];
  // glibc's struct __locale_struct from here on (bits/types/__locale_t.h).
  const unsigned short* kinds;
  const int* lower;
  const int* upper;
  const char* names[GLIBC_CATEGORIES];
};
_Static_assert(offsetof(struct locale, kinds) == 104, "glibc's __ctype_b");
_Static_assert(offsetof(struct locale, upper) == 120, "glibc's __ctype_toupper");

// What is in no table of letters maps to itself; musl has zeros there.
#define FROM (-128)
#define ROW(base, of)                                                                           \
  of(base), of(base + 1), of(base + 2), of(base + 3), of(base + 4), of(base + 5), of(base + 6), \
      of(base + 7), of(base + 8), of(base + 9), of(base + 10), of(base + 11), of(base + 12),    \
      of(base + 13), of(base + 14), of(base + 15)
#define ROWS(base, of)                                                                           \
  ROW(base, of), ROW(base + 16, of), ROW(base + 32, of), ROW(base + 48, of), ROW(base + 64, of), \
      ROW(base + 80, of), ROW(base + 96, of), ROW(base + 112, of)
#define LOWER(c) ((c) >= 'A' && (c) <= 'Z' ? (c) + 32 : (c))
#define UPPER(c) ((c) >= 'a' && (c) <= 'z' ? (c)-32 : (c))

#define SIGNED(c) ((c) == EOF ? (c) : (c) + 256)  // What a char was before it had a sign.

static const int lower_of[384] = {ROWS(-128, SIGNED), ROWS(0, LOWER), ROWS(128, LOWER)};
static const int upper_of[384] = {ROWS(-128, SIGNED), ROWS(0, UPPER), ROWS(128, UPPER)};
static const int* const lower_from_zero = lower_of - FROM;
static const int* const upper_from_zero = upper_of - FROM;

/// Return where glibc's tolower() and toupper() find their tables, from -128 to 255.
const int** __ctype_tolower_loc(void) {
  return (const int**)&lower_from_zero;
}
const int** __ctype_toupper_loc(void) {
  return (const int**)&upper_from_zero;
}

#define ALL_NAMES(name) \
  { name, name, name, name, name, name, name, name, name, name, name, name, name }

static struct locale plain = {
    .lower = lower_of - FROM, .upper = upper_of - FROM, .names = ALL_NAMES("C")};
static struct locale utf8 = {.maps = {&__c_dot_utf8},
                             .lower = lower_of - FROM,
                             .upper = upper_of - FROM,
                             .names = ALL_NAMES("C.UTF-8")};

static locale_t ready(struct locale* one) {
  one->kinds = *__ctype_b_loc();
  return (locale_t)one;
}

/// Returns the locale of that name, or null.
static struct locale* named(const char* name) {
  if (strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0) return &plain;
  if (strcmp(name, "C.UTF-8") == 0 || strcmp(name, "C.utf8") == 0) return &utf8;
  return NULL;
}

/// Returns the name that the environment has for LC_CTYPE, as POSIX says it is found.
static const char* name_of_environment(void) {
  static const char* const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t i = 0; i < sizeof variables / sizeof *variables; ++i) {
    const char* const value = getenv(variables[i]);
    if (value != NULL && *value != '\0') return value;
  }
  return "C";
}

/// As POSIX has it; a name that is not there is ENOENT. `categories` may be glibc's 1 << LC_ALL.
locale_t __newlocale(int categories, const char* name, locale_t base) {
  struct locale* const made = named(*name == '\0' ? name_of_environment() : name);
  if (made == NULL) {
    errno = ENOENT;
    return NULL;
  }
  const int sets_ctype = (categories & (LC_CTYPE_MASK | 1 << LC_ALL)) != 0;
  return ready(sets_ctype ? made : base == NULL ? &plain : (struct locale*)base);
}

locale_t __duplocale(locale_t of) {
  if (of != LC_GLOBAL_LOCALE) return of;
  const locale_t before = uselocale(LC_GLOBAL_LOCALE);
  const int is_utf8 = MB_CUR_MAX > 1;
  uselocale(before);
  return ready(is_utf8 ? &utf8 : &plain);
}

void __freelocale(locale_t of) {
  (void)of;
}

// nl_langinfo's items are a category and an index. Those of POSIX have the numbers of glibc.
enum {
  CODESET_ITEM = 14,
  NUMERIC_RADIX_WC = 3,  // The character itself, in the place of a pointer.
  TIME_WIDE = 52,        // From here on as from 0 on, up to WT_FMT_AMPM.
  TIME_DATES = 40,
};

static const char* const times[] = {"Sun",
                                    "Mon",
                                    "Tue",
                                    "Wed",
                                    "Thu",
                                    "Fri",
                                    "Sat",
                                    "Sunday",
                                    "Monday",
                                    "Tuesday",
                                    "Wednesday",
                                    "Thursday",
                                    "Friday",
                                    "Saturday",
                                    "Jan",
                                    "Feb",
                                    "Mar",
                                    "Apr",
                                    "May",
                                    "Jun",
                                    "Jul",
                                    "Aug",
                                    "Sep",
                                    "Oct",
                                    "Nov",
                                    "Dec",
                                    "January",
                                    "February",
                                    "March",
                                    "April",
                                    "May",
                                    "June",
                                    "July",
                                    "August",
                                    "September",
                                    "October",
                                    "November",
                                    "December",
                                    "AM",
                                    "PM",
                                    "%a %b %e %H:%M:%S %Y",
                                    "%m/%d/%y",
                                    "%H:%M:%S",
                                    "%I:%M:%S %p"};
static const wchar_t* const wide_times[] = {L"Sun",
                                            L"Mon",
                                            L"Tue",
                                            L"Wed",
                                            L"Thu",
                                            L"Fri",
                                            L"Sat",
                                            L"Sunday",
                                            L"Monday",
                                            L"Tuesday",
                                            L"Wednesday",
                                            L"Thursday",
                                            L"Friday",
                                            L"Saturday",
                                            L"Jan",
                                            L"Feb",
                                            L"Mar",
                                            L"Apr",
                                            L"May",
                                            L"Jun",
                                            L"Jul",
                                            L"Aug",
                                            L"Sep",
                                            L"Oct",
                                            L"Nov",
                                            L"Dec",
                                            L"January",
                                            L"February",
                                            L"March",
                                            L"April",
                                            L"May",
                                            L"June",
                                            L"July",
                                            L"August",
                                            L"September",
                                            L"October",
                                            L"November",
                                            L"December",
                                            L"AM",
                                            L"PM",
                                            L"%a %b %e %H:%M:%S %Y",
                                            L"%m/%d/%y",
                                            L"%H:%M:%S",
                                            L"%I:%M:%S %p"};
enum { TIMES = sizeof times / sizeof *times };
_Static_assert(sizeof wide_times / sizeof *wide_times == TIMES, "a name is missing");

/// Returns what glibc has for the item, in both locales but for the codeset. An item that is a
/// character is returned in the place of a pointer, as glibc does.
char* __nl_langinfo_l(int item, locale_t of) {
  const int index = item & 0xffff;
  switch (item >> 16) {
    case LC_CTYPE:
      if (index != CODESET_ITEM) return "";
      return ((const struct locale*)of)->maps[LC_CTYPE] != NULL ? "UTF-8" : "ANSI_X3.4-1968";
    case LC_NUMERIC:
      if (index == NUMERIC_RADIX_WC) return (char*)(size_t)L'.';
      if (index == NUMERIC_RADIX_WC + 1) return NULL;  // Of thousands there is none.
      return index == 0 ? "." : "";
    case LC_TIME:
      if (index < TIMES) return (char*)times[index];
      if (index >= TIME_WIDE && index < TIME_WIDE + TIMES) {
        return (char*)wide_times[index - TIME_WIDE];
      }
      return (char*)L"";  // Eras, of which there are none; some are wide.
    case LC_MONETARY:
      if (index == 0xf) return "-";
      if (index >= 0x2b) return NULL;  // Wide separators, of which there are none.
      return index < 7 || index == 0x16 || index == 0x17 ? "" : "\xff";  // Not available.
    case LC_MESSAGES:
      return index == 0 ? "^[yY]" : index == 1 ? "^[nN]" : "";
    default:
      return "";
  }
}

char* __nl_langinfo(int item) {
  return __nl_langinfo_l(item, __duplocale(LC_GLOBAL_LOCALE));
}

// In "C" only ASCII has letters, also for wide characters; musl's functions know no locale.
static int is_foreign(wint_t c, locale_t of) {
  return c > 127 && ((const struct locale*)of)->maps[LC_CTYPE] == NULL;
}
int __iswctype_l(wint_t c, wctype_t kind, locale_t of) {
  return is_foreign(c, of) ? 0 : iswctype(c, kind);
}
wint_t __towlower_l(wint_t c, locale_t of) {
  return is_foreign(c, of) ? c : towlower(c);
}
wint_t __towupper_l(wint_t c, locale_t of) {
  return is_foreign(c, of) ? c : towupper(c);
}

#define SAME_AS(name) __attribute__((alias(#name)))
int iswctype_l(wint_t c, wctype_t kind, locale_t of) SAME_AS(__iswctype_l);
wint_t towlower_l(wint_t c, locale_t of) SAME_AS(__towlower_l);
wint_t towupper_l(wint_t c, locale_t of) SAME_AS(__towupper_l);
#define KIND(name)                          \
  int __##name##_l(wint_t c, locale_t of) { \
    return is_foreign(c, of) ? 0 : name(c); \
  }                                         \
  int name##_l(wint_t c, locale_t of) SAME_AS(__##name##_l);
KIND(iswalnum)
KIND(iswalpha)
KIND(iswblank)
KIND(iswcntrl)
KIND(iswdigit)
KIND(iswgraph)
KIND(iswlower)
KIND(iswprint)
KIND(iswpunct)
KIND(iswspace)
KIND(iswupper)
KIND(iswxdigit)
locale_t newlocale(int categories, const char* name, locale_t base) SAME_AS(__newlocale);
locale_t duplocale(locale_t of) SAME_AS(__duplocale);
void freelocale(locale_t of) SAME_AS(__freelocale);
char* nl_langinfo_l(int item, locale_t of) SAME_AS(__nl_langinfo_l);
char* nl_langinfo(int item) SAME_AS(__nl_langinfo);
