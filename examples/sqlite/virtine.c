// An extension for SQLite: functions whose calls run in virtual machines. It adds to a connection
//   virtine_function(name, image, export [, isolation])   a scalar function of an image
//   virtine_aggregate(name, image, export)                an aggregate: of all values of a group
//   virtine_js(name, parameters, body [, isolation])      a scalar function in JavaScript
//   virtine_timeout(milliseconds)                         of each call; 10 s at first
// None of them can be called from the schema of a database.
// SPDX-License-Identifier: MIT
#include <sqlite3ext.h>
#include <stdlib.h>
#include <string.h>

#include "virtine.h"

SQLITE_EXTENSION_INIT1

void virtine_let_go(void *given) {
  Connection *const connection = given;

  if (--connection->users > 0) return;
  virtine_function_free(connection->engine);
  sqlite3_free(connection);
}

void virtine_free_function(void *given) {
  Function *const function = given;

  virtine_session_free(function->session);
  virtine_function_free(function->function);
  sqlite3_free(function->name);
  sqlite3_free(function->signature);
  sqlite3_free(function->script);
  virtine_let_go(function->connection);
  sqlite3_free(function);
}

static Function *make_function(Connection *connection, const char *name) {
  Function *const out = sqlite3_malloc(sizeof *out);

  if (out == NULL) return NULL;
  memset(out, 0, sizeof *out);
  out->connection = connection;
  out->name = sqlite3_mprintf("%s", name);
  ++connection->users;
  return out;
}

bool virtine_run(sqlite3_context *context, Function *of, const virtine_value *arguments,
                 size_t count, virtine_value *result) {
  virtine_call_options options = VIRTINE_CALL_OPTIONS_INIT;
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_function *const function =
      of->function != NULL ? of->function : of->connection->engine;
  char *text;

  options.timeout = of->connection->timeout;
  if (of->session != NULL) {
    virtine_session_call(of->session, arguments, count, result, &options, &error);
  } else {
    virtine_call(function, arguments, count, result, &options, &error);
  }
  if (error.code == VIRTINE_OK) return true;
  if (of->session != NULL && error.code != VIRTINE_BAD_ARGUMENT) {
    // A call that failed has ended it.
    virtine_session_free(of->session);
    of->session = NULL;
    virtine_session_create(function, &options, &of->session, NULL);
  }
  text = sqlite3_mprintf("%s: %s", of->name, error.text);
  sqlite3_result_error(context, text, -1);
  sqlite3_free(text);
  return false;
}

static virtine_value to_guest(sqlite3_value *from) {
  virtine_value none = VIRTINE_VALUE_INIT;

  switch (sqlite3_value_type(from)) {
    case SQLITE_INTEGER:
      return virtine_of_int(sqlite3_value_int64(from));
    case SQLITE_FLOAT:
      return virtine_of_double(sqlite3_value_double(from));
    case SQLITE_TEXT: {
      const char *const text = (const char *)sqlite3_value_text(from);

      return virtine_of_text(text, (size_t)sqlite3_value_bytes(from));
    }
    case SQLITE_BLOB: {
      const void *const bytes = sqlite3_value_blob(from);

      return virtine_of_bytes(bytes, (size_t)sqlite3_value_bytes(from));
    }
    default:
      return none;
  }
}

// Gives a result to SQL, and frees it.
static void give(sqlite3_context *context, virtine_value *result) {
  switch (result->kind) {
    case VIRTINE_NONE:
      sqlite3_result_null(context);
      break;
    case VIRTINE_BOOL:
      sqlite3_result_int(context, result->as.boolean);
      break;
    case VIRTINE_INT:
      sqlite3_result_int64(context, result->as.integer);
      break;
    case VIRTINE_UINT:
      if (result->as.natural > INT64_MAX) {
        sqlite3_result_error(context, "the virtine returned an integer that is too large", -1);
      } else {
        sqlite3_result_int64(context, result->as.integer);
      }
      break;
    case VIRTINE_DOUBLE:
      sqlite3_result_double(context, result->as.floating);
      break;
    case VIRTINE_BYTES:
      sqlite3_result_text64(context, result->as.bytes.data, result->as.bytes.size,
                            SQLITE_TRANSIENT, SQLITE_UTF8);
      break;
    default:
      sqlite3_result_error(context, "the virtine returned what SQL has no value for", -1);
  }
  virtine_value_clear(result);
}

static void call_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
  Function *const of = sqlite3_user_data(context);
  virtine_value values[128], result = VIRTINE_VALUE_INIT;
  int i;

  for (i = 0; i < count; ++i) values[i] = to_guest(arguments[i]);
  if (virtine_run(context, of, values, (size_t)count, &result)) give(context, &result);
}

// ---- Aggregates: the values of a group are collected, and one call gets them all ----

// The numbers of one argument: doubles or 64-bit integers.
typedef struct Column {
  char *numbers;
  size_t size, room;
} Column;

enum { MAX_COLUMNS = 8 };

typedef struct Group {
  Column columns[MAX_COLUMNS];
} Group;

static bool append(Column *to, const void *number) {
  if (to->size == to->room) {
    const size_t room = to->room == 0 ? 512 : 2 * to->room;
    char *const more = sqlite3_realloc64(to->numbers, room);

    if (more == NULL) return false;
    to->numbers = more;
    to->room = room;
  }
  memcpy(to->numbers + to->size, number, 8);
  to->size += 8;
  return true;
}

// Parameter `index` of the signature R([T],[T]...): 'i' or 'f'.
static char kind_of(const Function *of, int index) {
  return strchr(of->signature, '(')[2 + 5 * index];
}

static void step(sqlite3_context *context, int count, sqlite3_value **arguments) {
  const Function *const of = sqlite3_user_data(context);
  Group *const group = sqlite3_aggregate_context(context, sizeof *group);
  int i;

  if (group == NULL) {
    sqlite3_result_error_nomem(context);
    return;
  }
  for (i = 0; i < count; ++i) {
    if (sqlite3_value_type(arguments[i]) == SQLITE_NULL) return;
  }
  for (i = 0; i < count; ++i) {
    const sqlite3_int64 whole = sqlite3_value_int64(arguments[i]);
    const double number = sqlite3_value_double(arguments[i]);

    if (!append(&group->columns[i],
                kind_of(of, i) == 'i' ? (const void *)&whole : (const void *)&number)) {
      sqlite3_result_error_nomem(context);
      return;
    }
  }
}

static void finish(sqlite3_context *context) {
  Function *const of = sqlite3_user_data(context);
  Group *const group = sqlite3_aggregate_context(context, 0);
  virtine_value values[MAX_COLUMNS], result = VIRTINE_VALUE_INIT;
  int count = 0, i;

  while (strchr(of->signature, '(')[1 + 5 * count] == '[') {
    values[count] = group != NULL ? virtine_of_bytes(group->columns[count].numbers,
                                                     group->columns[count].size)
                                  : virtine_of_bytes(NULL, 0);
    ++count;
  }
  if (virtine_run(context, of, values, (size_t)count, &result)) give(context, &result);
  for (i = 0; group != NULL && i < MAX_COLUMNS; ++i) sqlite3_free(group->columns[i].numbers);
}

// ---- What defines functions ----

// Returns how many parameters a signature has.
static int count_of(const char *signature) {
  int depth = 0, commas = 0;
  const char *at = strchr(signature, '(');

  if (at == NULL || at[1] == ')') return 0;
  for (++at; *at != '\0'; ++at) {
    if (strchr("[<{", *at) != NULL) ++depth;
    if (strchr("]>}", *at) != NULL) --depth;
    if (*at == ',' && depth == 0) ++commas;
  }
  return commas + 1;
}

// Whether a signature is R([f8]) or R([i8],[f8]) and so on.
static bool is_of_columns(const char *signature) {
  const char *at = strchr(signature, '(');
  int count = 0;

  do {
    if (count++ == MAX_COLUMNS ||
        (strncmp(at + 1, "[f8]", 4) != 0 && strncmp(at + 1, "[i8]", 4) != 0)) {
      return false;
    }
    at += 5;
  } while (*at == ',');
  return *at == ')';
}

// Loads an image, of a path or of its bytes.
static int load(sqlite3_value *from, virtine_image **image, virtine_error *error) {
  if (sqlite3_value_type(from) == SQLITE_BLOB) {
    const void *const bytes = sqlite3_value_blob(from);

    return virtine_load_bytes(bytes, (size_t)sqlite3_value_bytes(from), NULL, image, error);
  }
  return virtine_load((const char *)sqlite3_value_text(from), NULL, image, error);
}

// Makes a function of arguments that are name, image and export.
static Function *function_of_image(sqlite3_context *context, sqlite3_value **arguments) {
  const char *const export_name = (const char *)sqlite3_value_text(arguments[2]);
  Function *const out = make_function(sqlite3_user_data(context),
                                      (const char *)sqlite3_value_text(arguments[0]));
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_export each = VIRTINE_EXPORT_INIT;
  virtine_image *image = NULL;
  size_t i;

  if (out == NULL) {
    sqlite3_result_error_nomem(context);
    return NULL;
  }
  if (load(arguments[1], &image, &error) == VIRTINE_OK &&
      virtine_function_create(image, export_name, NULL, NULL, &out->function, &error) ==
          VIRTINE_OK) {
    for (i = 0; i < virtine_export_count(image); ++i) {
      virtine_export_at(image, i, &each, NULL);
      if (strcmp(each.name, export_name) == 0) {
        out->signature = sqlite3_mprintf("%s", each.signature);
      }
    }
  }
  virtine_image_free(image);
  if (out->signature != NULL) return out;
  sqlite3_result_error(context, error.text, -1);
  virtine_free_function(out);
  return NULL;
}

// Opens a session if the argument says 'connection'; false if it says what is none.
static bool set_isolation(sqlite3_context *context, Function *of, int count,
                          sqlite3_value **arguments) {
  const char *const word = count > 3 ? (const char *)sqlite3_value_text(arguments[3]) : "row";
  virtine_function *const function =
      of->function != NULL ? of->function : of->connection->engine;

  if (word != NULL && strcmp(word, "row") == 0) return true;
  if (word != NULL && strcmp(word, "connection") == 0) {
    virtine_call_options options = VIRTINE_CALL_OPTIONS_INIT;

    options.timeout = of->connection->timeout;
    return virtine_session_create(function, &options, &of->session, NULL) == VIRTINE_OK;
  }
  sqlite3_result_error(context, "the isolation is 'row' or 'connection'", -1);
  return false;
}

static void define(sqlite3_context *context, Function *of, int count,
                   void (*call)(sqlite3_context *, int, sqlite3_value **), bool is_aggregate) {
  sqlite3 *const database = sqlite3_context_db_handle(context);
  // Scripts know the time.
  const bool is_pure = of->session == NULL && of->function != NULL;
  const int flags = SQLITE_UTF8 | (is_pure ? SQLITE_DETERMINISTIC : 0);

  // That frees the function itself if it fails.
  if (sqlite3_create_function_v2(database, of->name, count, flags, of, is_aggregate ? NULL : call,
                                 is_aggregate ? call : NULL, is_aggregate ? finish : NULL,
                                 virtine_free_function) != SQLITE_OK) {
    sqlite3_result_error(context, sqlite3_errmsg(database), -1);
  }
}

static void define_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
  Function *const of = function_of_image(context, arguments);

  if (of == NULL) return;
  if (!set_isolation(context, of, count, arguments)) {
    virtine_free_function(of);
    return;
  }
  define(context, of, count_of(of->signature), call_function, false);
}

static void define_aggregate(sqlite3_context *context, int count, sqlite3_value **arguments) {
  Function *const of = function_of_image(context, arguments);

  (void)count;
  if (of == NULL) return;
  if (!is_of_columns(of->signature)) {
    sqlite3_result_error(
        context, "an aggregate's function takes std::span<const double> or <const long>", -1);
    virtine_free_function(of);
    return;
  }
  define(context, of, count_of(of->signature), step, true);
}

static void define_script(sqlite3_context *context, int count, sqlite3_value **arguments) {
  Connection *const connection = sqlite3_user_data(context);
  virtine_error error = VIRTINE_ERROR_INIT;
  const char *const wrong = virtine_make_engine(connection, &error);
  const char *const parameters = (const char *)sqlite3_value_text(arguments[1]);
  Function *of;
  int takes = parameters == NULL || *parameters == '\0' ? 0 : 1;
  const char *at;

  if (wrong != NULL) {
    sqlite3_result_error(context, wrong, -1);
    return;
  }
  for (at = parameters; at != NULL && *at != '\0'; ++at) takes += *at == ',';
  of = make_function(connection, (const char *)sqlite3_value_text(arguments[0]));
  if (of == NULL) {
    sqlite3_result_error_nomem(context);
    return;
  }
  of->script = sqlite3_mprintf("(function(%s){%s\n}).apply(null,input)", parameters,
                               (const char *)sqlite3_value_text(arguments[2]));
  if (!set_isolation(context, of, count, arguments)) {
    virtine_free_function(of);
    return;
  }
  define(context, of, takes, virtine_call_script, false);
}

static void set_timeout(sqlite3_context *context, int count, sqlite3_value **arguments) {
  Connection *const connection = sqlite3_user_data(context);
  const sqlite3_int64 milliseconds = sqlite3_value_int64(arguments[0]);

  (void)count;
  if (milliseconds < 1 || milliseconds > INT32_MAX) {
    sqlite3_result_error(context, "the timeout is from 1 to 2147483647 milliseconds", -1);
    return;
  }
  connection->timeout = (uint64_t)milliseconds * 1000000;
}

__attribute__((visibility("default"))) int sqlite3_virtine_init(sqlite3 *database, char **error,
                                                                const sqlite3_api_routines *api) {
  static const struct {
    const char *name;
    int count;
    void (*call)(sqlite3_context *, int, sqlite3_value **);
  } functions[] = {{"virtine_function", 3, define_function},
                   {"virtine_function", 4, define_function},
                   {"virtine_aggregate", 3, define_aggregate},
                   {"virtine_js", 3, define_script},
                   {"virtine_js", 4, define_script},
                   {"virtine_timeout", 1, set_timeout}};
  Connection *connection;
  int status = SQLITE_OK;
  size_t i;

  (void)error;
  SQLITE_EXTENSION_INIT2(api);
  connection = sqlite3_malloc(sizeof *connection);
  if (connection == NULL) return SQLITE_NOMEM;
  memset(connection, 0, sizeof *connection);
  connection->timeout = 10000000000u;
  connection->users = 1;
  for (i = 0; i < sizeof functions / sizeof *functions && status == SQLITE_OK; ++i) {
    // Only by a statement of the program's own: no trigger, view or constraint of a database.
    // SQLite 3.40 lets a CHECK constraint call a function that is not deterministic, all the same.
    const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY | SQLITE_DETERMINISTIC;

    ++connection->users;
    status = sqlite3_create_function_v2(database, functions[i].name, functions[i].count, flags,
                                        connection, functions[i].call, NULL, NULL, virtine_let_go);
  }
  virtine_let_go(connection);
  return status;
}
