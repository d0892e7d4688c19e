// What the files of the extension share: a connection's settings, and one call.
// SPDX-License-Identifier: MIT
#ifndef VIRTINE_SQLITE_VIRTINE_H
#define VIRTINE_SQLITE_VIRTINE_H

#include <sqlite3ext.h>
#include <virtine/c/virtine.h>

SQLITE_EXTENSION_INIT3

// Of a connection; freed when the last function that refers to it is.
typedef struct Connection {
  int users;
  uint64_t timeout;  // nanoseconds, of each call
  virtine_function *engine;  // of JavaScript, once it was needed
  bool is_in_script;         // or in SQL that serves one
} Connection;

// A function that SQL can call.
typedef struct Function {
  Connection *connection;
  virtine_function *function;  // of an image; NULL: JavaScript
  virtine_session *session;    // Its calls share a machine.
  char *name;
  char *signature;
  char *script;
} Function;

extern void virtine_let_go(void *connection);
extern void virtine_free_function(void *function);

// Makes a call; sets an error for SQL and returns false if it fails.
extern bool virtine_run(sqlite3_context *context, Function *of, const virtine_value *arguments,
                        size_t count, virtine_value *result);

// Calls a script.
extern void virtine_call_script(sqlite3_context *context, int count, sqlite3_value **arguments);
// Makes the engine; returns what went wrong, or NULL.
extern const char *virtine_make_engine(Connection *connection, virtine_error *error);

#endif
