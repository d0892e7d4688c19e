// What the sample's functions are in C: the floor of the benchmark.
// SPDX-License-Identifier: MIT
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

static void is_cheap(sqlite3_context *context, int count, sqlite3_value **arguments) {
  const sqlite3_int64 price = sqlite3_value_int64(arguments[0]);

  (void)count;
  sqlite3_result_int(context, price * sqlite3_value_int64(arguments[1]) % 7 == 3);
}

static void words(sqlite3_context *context, int count, sqlite3_value **arguments) {
  const char *at = (const char *)sqlite3_value_text(arguments[0]);
  const char *const end = at + sqlite3_value_bytes(arguments[0]);
  int inside = 0, found = 0;

  (void)count;
  for (; at != end; ++at) {
    if (*at != ' ' && !inside) ++found;
    inside = *at != ' ';
  }
  sqlite3_result_int(context, found);
}

__attribute__((visibility("default"))) int sqlite3_native_init(sqlite3 *database, char **error,
                                                               const sqlite3_api_routines *api) {
  (void)error;
  SQLITE_EXTENSION_INIT2(api);
  sqlite3_create_function(database, "c_cheap", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, 0, is_cheap,
                          0, 0);
  return sqlite3_create_function(database, "c_words", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, 0,
                                 words, 0, 0);
}
