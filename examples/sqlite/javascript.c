// Functions in JavaScript. SQLite's own functions make JSON of the arguments, and a value of what
// comes back.
// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "virtine.h"

// The room for a result.
enum { ROOM = 256 * 1024 };

// What the engine's function returns beside the text; see examples/js/reply.hpp.
typedef struct Reply {
  uint32_t outcome;
  int32_t line;
  uint64_t size;
} Reply;

static int on_log(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  (void)context, (void)arguments, (void)count, (void)result;
  return 0;
}

static int on_get(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  // A js::found in which nothing is.
  static const char nothing[4016];

  (void)context, (void)arguments, (void)count;
  *result = virtine_of_bytes(nothing, sizeof nothing);
  return 0;
}

const char *virtine_make_engine(Connection *connection, virtine_error *error) {
  static const char here = 0;
  virtine_policy *policy = NULL;
  virtine_image *image = NULL;
  char path[4096];
  const char *end;
  Dl_info own;

  if (connection->engine != NULL) return NULL;
  // It lies beside the extension.
  if (dladdr(&here, &own) == 0) return "the extension cannot be found";
  end = strrchr(own.dli_fname, '/');
  snprintf(path, sizeof path, "%.*svirtine_js.virtine",
           end != NULL ? (int)(end + 1 - own.dli_fname) : 0, own.dli_fname);
  if (virtine_load(path, NULL, &image, error) == VIRTINE_OK &&
      virtine_policy_create(&policy, error) == VIRTINE_OK &&
      virtine_policy_add_hypercall(policy, 1, "v(s)", on_log, NULL, error) == VIRTINE_OK &&
      virtine_policy_add_hypercall(policy, 2, "{4016.8}(s)", on_get, NULL, error) == VIRTINE_OK) {
    virtine_function_create(image, "evaluate", policy, NULL, &connection->engine, error);
  }
  virtine_policy_free(policy);
  virtine_image_free(image);
  return connection->engine == NULL ? error->text : NULL;
}

// Returns the one value of a statement that is given a value, as sqlite3_result_value() takes it.
static void give_json(sqlite3_context *context, const char *json, int size) {
  sqlite3_stmt *statement = NULL;

  if (sqlite3_prepare_v2(sqlite3_context_db_handle(context), "SELECT json_extract(?, '$')", -1,
                         &statement, NULL) == SQLITE_OK &&
      sqlite3_bind_text(statement, 1, json, size, SQLITE_TRANSIENT) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    sqlite3_result_value(context, sqlite3_column_value(statement, 0));
  } else {
    sqlite3_result_error(context, "the script returned what is no JSON", -1);
  }
  sqlite3_finalize(statement);
}

static void call_with(sqlite3_context *context, Function *of, const char *list) {
  char *const text = malloc(ROOM);
  virtine_value arguments[4], result = VIRTINE_VALUE_INIT;
  struct timespec now;
  Reply reply;

  // SQLite has no text to give where there is no memory for it.
  if (text == NULL || list == NULL || of->script == NULL) {
    free(text);
    sqlite3_result_error_nomem(context);
    return;
  }
  clock_gettime(CLOCK_REALTIME, &now);
  arguments[0] = virtine_of_text(of->script, strlen(of->script));
  arguments[1] = virtine_of_text(list, strlen(list));
  arguments[2] = virtine_of_int((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  arguments[3] = virtine_of_buffer(text, ROOM);
  if (virtine_run(context, of, arguments, 4, &result)) {
    memcpy(&reply, result.as.bytes.data, sizeof reply);
    virtine_value_clear(&result);
    if (reply.size > ROOM) {
      sqlite3_result_error_toobig(context);
    } else if (reply.outcome != 0) {
      sqlite3_result_error(context, text, (int)reply.size);
    } else {
      give_json(context, text, (int)reply.size);
    }
  }
  free(text);
}

void virtine_call_script(sqlite3_context *context, int count, sqlite3_value **arguments) {
  Function *const of = sqlite3_user_data(context);
  char *const places = malloc((size_t)count * 2 + 1);
  char *query = NULL;
  sqlite3_stmt *statement = NULL;
  int i;

  // Its JSON would be made by a function in JavaScript in turn, without end.
  if (of->connection->is_in_script) {
    free(places);
    sqlite3_result_error(context, "json_array() and json_extract() cannot be in JavaScript", -1);
    return;
  }
  if (places != NULL) {
    places[0] = '\0';
    for (i = 0; i < count; ++i) strcpy(places + (i == 0 ? 0 : 2 * i - 1), i == 0 ? "?" : ",?");
    query = sqlite3_mprintf("SELECT json_array(%s)", places);
    free(places);
  }
  if (query == NULL) {
    sqlite3_result_error_nomem(context);
    return;
  }
  sqlite3_prepare_v2(sqlite3_context_db_handle(context), query, -1, &statement, NULL);
  sqlite3_free(query);
  for (i = 0; i < count; ++i) sqlite3_bind_value(statement, i + 1, arguments[i]);
  of->connection->is_in_script = true;
  if (sqlite3_step(statement) == SQLITE_ROW) {
    call_with(context, of, (const char *)sqlite3_column_text(statement, 0));
  } else {
    sqlite3_result_error(context, sqlite3_errmsg(sqlite3_context_db_handle(context)), -1);
  }
  of->connection->is_in_script = false;
  sqlite3_finalize(statement);
}
