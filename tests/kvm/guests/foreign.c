// A library as a distribution has it: compiled by the host's compiler against the host's headers,
// with checks. It answers as text, to be compared with what the host's own copy answers.
// SPDX-License-Identifier: MIT

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <wctype.h>

static char text[1000];
static size_t length;

#define SAY(...) (length += (size_t)snprintf(text + length, sizeof text - length, __VA_ARGS__))

static pthread_mutex_t again = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t checked = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static jmp_buf back;

static void match(void) {
  regex_t of;
  regmatch_t at[6];
  memset(at, 0x11, sizeof at);
  SAY("%d ", regcomp(&of, "([a-z]+)([0-9])?(-)", REG_EXTENDED | REG_ICASE));
  SAY("%zu %d", of.re_nsub, regexec(&of, "12 Ab-", 5, at, 0));
  for (int i = 0; i < 6; ++i) SAY(" %d-%d", at[i].rm_so, at[i].rm_eo);
  at[0].rm_so = 2;
  at[0].rm_eo = 7;
  SAY(" %d", regexec(&of, "a- bcd9-e", 2, at, REG_STARTEND));
  for (int i = 0; i < 3; ++i) SAY(" %d-%d", at[i].rm_so, at[i].rm_eo);
  SAY(" %d", regexec(&of, "none", 0, NULL, 0));
  regfree(&of);
  SAY(" %d", regcomp(&of, "*a\\(", 0));
}

static void lock(void) {
  for (int i = 0; i < 3; ++i) SAY("%d ", pthread_mutex_lock(&again));
  for (int i = 0; i < 4; ++i) SAY("%d ", pthread_mutex_unlock(&again));
  for (int i = 0; i < 2; ++i) SAY("%d ", pthread_mutex_lock(&checked));
  for (int i = 0; i < 2; ++i) SAY("%d ", pthread_mutex_unlock(&checked));
  for (int i = 0; i < 2; ++i) SAY("%d ", pthread_mutex_trylock(&plain));
  SAY("%d %d", pthread_mutex_unlock(&plain), pthread_mutex_destroy(&plain));
}

static void letters(void) {
  unsigned long long sum = 0;
  for (int c = -128; c < 256; ++c) {
    sum = sum * 31 + (unsigned)tolower(c) * 3 + (unsigned)toupper(c);
    sum = sum * 31 + (unsigned)(!!isalpha(c) + 2 * !!ispunct(c) + 4 * !!isprint(c));
  }
  SAY("%llu ", sum);
  const locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
  for (wint_t each = 0; each < 0x300; ++each) {
    sum = sum * 31 + (unsigned)!!iswalpha_l(each, c) + 2 * towupper_l(each, c);
  }
  SAY("%llu %d", sum, newlocale(LC_ALL_MASK, "nonsense", NULL) == NULL);
  freelocale(c);
}

static void checks(int number) {
  fd_set files;
  FD_ZERO(&files);
  FD_SET(number, &files);
  SAY("%d %d ", FD_ISSET(number, &files) != 0, FD_ISSET(number + 1, &files) != 0);
  const int came = setjmp(back);
  if (came == 0) longjmp(back, number);
  SAY("%d ", came);
  char whole[PATH_MAX];
  SAY("%s ", realpath("/", whole));
  SAY("%ld %lu ", strtol("-0x1f", NULL, 0), strtoul("77", NULL, 8));
  int scanned = 0;
  SAY("%d", sscanf("12 a", "%d", &scanned) + scanned);
}

// A piece of the function that runs before main, as assembly has it.
static int pieces;
__attribute__((used)) static void add_piece(void) {
  ++pieces;
}
__asm__(".pushsection .init, \"ax\", @progbits\n  call add_piece\n.popsection");

/// Returns an answer to one of five questions.
const char* foreign(int question) {
  length = 0;
  text[0] = '\0';
  if (question == 0) match();
  if (question == 1) lock();
  if (question == 2) letters();
  if (question == 3) checks(70);
  if (question == 4) SAY("%d", pieces);
  return text;
}
