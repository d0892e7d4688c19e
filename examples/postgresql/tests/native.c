// What the sample's functions are in C: the floor of the benchmark.
// SPDX-License-Identifier: MIT
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(is_cheap);
PG_FUNCTION_INFO_V1(words);
PG_FUNCTION_INFO_V1(added);

Datum is_cheap(PG_FUNCTION_ARGS) {
  PG_RETURN_BOOL((int64) PG_GETARG_INT32(0) * PG_GETARG_INT32(1) % 7 == 3);
}

Datum words(PG_FUNCTION_ARGS) {
  const text *const given = PG_GETARG_TEXT_PP(0);
  const char *at = VARDATA_ANY(given);
  const char *const end = at + VARSIZE_ANY_EXHDR(given);
  bool inside = false;
  int32 found = 0;

  for (; at != end; ++at) {
    if (*at != ' ' && !inside) ++found;
    inside = *at != ' ';
  }
  PG_RETURN_INT32(found);
}

Datum added(PG_FUNCTION_ARGS) {
  PG_RETURN_FLOAT8(PG_GETARG_FLOAT8(0) + PG_GETARG_FLOAT8(1));
}
