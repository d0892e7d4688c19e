// POSIX's regular expressions by musl's, for callers with the types of glibc, as the archives of a
// distribution are and guests' own sources too. The two disagree on where the number of groups is,
// and on the size of a match.
// Must not know how musl matches. Both are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

#include <limits.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define WEAK __attribute__((weak))

// musl's object fits into glibc's and leaves alone what callers may look at.
_Static_assert(sizeof(regex_t) == 64 && offsetof(regex_t, __compiled) == 8, "musl's");
_Static_assert(offsetof(regex_t, re_nsub) == 48 && sizeof(regmatch_t) == 8, "glibc's");

struct libc_match {
  ptrdiff_t begin;
  ptrdiff_t end;
};

int virtine_libc_regcomp(regex_t*, const char*, int);
int virtine_libc_regexec(const regex_t*, const char*, size_t, struct libc_match*, int);

WEAK int regcomp(regex_t* restrict to, const char* restrict pattern, int flags) {
  memset(to, 0, sizeof *to);
  const int why = virtine_libc_regcomp(to, pattern, flags);
  to->re_nsub = why == 0 ? to->__musl_re_nsub : 0;
  to->__flags = (unsigned)flags;
  return why;
}

/// As regexec(), for at most as many matches as there are groups.
static int match(const regex_t* of, const char* text, size_t count, regmatch_t* matches, int flags,
                 regoff_t begin) {
  struct libc_match few[16], *made = few;
  if (count > sizeof few / sizeof *few && (made = malloc(count * sizeof *made)) == NULL) {
    return REG_ESPACE;
  }
  const int why = virtine_libc_regexec(of, text, count, made, flags);
  for (size_t i = 0; why == 0 && i < count; ++i) {
    const int found = made[i].begin >= 0;
    matches[i].rm_so = found ? (regoff_t)made[i].begin + begin : -1;
    matches[i].rm_eo = found ? (regoff_t)made[i].end + begin : -1;
  }
  if (made != few) free(made);
  return why;
}

/// As regexec(), for a part of a text: what REG_STARTEND asks for.
static int match_part(const regex_t* of, const char* text, size_t count, regmatch_t* matches,
                      int flags, regmatch_t part) {
  if (part.rm_so < 0 || part.rm_eo < part.rm_so) return REG_NOMATCH;
  const size_t size = (size_t)(part.rm_eo - part.rm_so);
  char* const copy = malloc(size + 1);
  if (copy == NULL) return REG_ESPACE;
  memcpy(copy, text + part.rm_so, size);
  copy[size] = '\0';
  const int begins_line =
      part.rm_so == 0 || ((of->__flags & REG_NEWLINE) != 0 && text[part.rm_so - 1] == '\n');
  const int why =
      match(of, copy, count, matches, begins_line ? flags : flags | REG_NOTBOL, part.rm_so);
  free(copy);
  return why;
}

WEAK int regexec(const regex_t* restrict of, const char* restrict text, size_t wanted,
                 regmatch_t* restrict matches, int flags) {
  if ((flags & ~(REG_NOTBOL | REG_NOTEOL | REG_STARTEND)) != 0) return REG_BADPAT;
  const int is_part = (flags & REG_STARTEND) != 0;
  if (!is_part && strlen(text) > INT_MAX) return REG_ESPACE;
  if ((of->__flags & REG_NOSUB) != 0) wanted = 0;
  const size_t count = wanted < of->re_nsub + 1 ? wanted : of->re_nsub + 1;
  const int passed = flags & ~REG_STARTEND;
  const int why = is_part ? match_part(of, text, count, matches, passed, matches[0])
                          : match(of, text, count, matches, passed, 0);
  for (size_t i = count; why == 0 && i < wanted; ++i) {
    matches[i].rm_so = matches[i].rm_eo = -1;
  }
  return why;
}
