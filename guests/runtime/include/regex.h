// POSIX's regular expressions, with the types of the host's C library. So archives of a
// distribution, which were built for those, and guests' own sources mean the same.
// Must not know guests. Found before musl's own file of this name, and included in its stead.
// SPDX-License-Identifier: MIT
#pragma once

#include <features.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int regoff_t;

typedef struct re_pattern_buffer {
  size_t __musl_re_nsub;
  void* __compiled;
  void* __unused[4];
  size_t re_nsub;
  unsigned int __flags;
} regex_t;

typedef struct {
  regoff_t rm_so;
  regoff_t rm_eo;
} regmatch_t;

#define REG_EXTENDED 1
#define REG_ICASE 2
#define REG_NEWLINE 4
#define REG_NOSUB 8

#define REG_NOTBOL 1
#define REG_NOTEOL 2
#define REG_STARTEND 4

#define REG_OK 0
#define REG_NOERROR 0
#define REG_NOMATCH 1
#define REG_BADPAT 2
#define REG_ECOLLATE 3
#define REG_ECTYPE 4
#define REG_EESCAPE 5
#define REG_ESUBREG 6
#define REG_EBRACK 7
#define REG_EPAREN 8
#define REG_EBRACE 9
#define REG_BADBR 10
#define REG_ERANGE 11
#define REG_ESPACE 12
#define REG_BADRPT 13
#define REG_ENOSYS (-1)

int regcomp(regex_t* __restrict, const char* __restrict, int);
int regexec(const regex_t* __restrict, const char* __restrict, size_t, regmatch_t* __restrict, int);
size_t regerror(int, const regex_t* __restrict, char* __restrict, size_t);
void regfree(regex_t*);

#ifdef __cplusplus
}
#endif
