// One call of a guest's function: its limits, how a query that is cancelled ends it, and its errors
// as PostgreSQL has them. Knows nothing of SQL's types.
// SPDX-License-Identifier: MIT
#ifndef VIRTINE_PG_GUEST_CALL_H
#define VIRTINE_PG_GUEST_CALL_H

#include "postgres.h"

#include "virtine/c/virtine.h"

// Defines the settings, when the extension is loaded.
extern void virtine_define_settings(void);

// Returns whether the calls of one place in a query share a machine, as virtine.isolation says.
extern bool virtine_is_query_isolation(void);

// Returns the limits of an image, as virtine.memory and virtine.timeout say.
extern virtine_load_options virtine_limits_of_images(void);

// Opens a session of a function; `name` is the function's, for messages.
extern virtine_session *virtine_make_session(virtine_function *function, const char *name);

// Makes a call, by the session if there is one. An error if it fails; then the session is closed and
// NULL. `name` is the function's, for messages. Returns a result in the current memory context.
extern virtine_value virtine_make_call(virtine_function *function, virtine_session **session,
                                       const char *name, const virtine_value *arguments, int count);

// Says that a query makes no more calls.
extern void virtine_end_calls(void);

// Reports what the library says went wrong with `name`.
extern void virtine_report(const virtine_error *error, const char *name) pg_attribute_noreturn();

#endif
