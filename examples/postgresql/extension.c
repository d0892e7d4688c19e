// What is done when PostgreSQL loads the extension. Touches no KVM: a postmaster that preloads it
// forks, and machines belong to the process that made them.
// SPDX-License-Identifier: MIT
#include "postgres.h"

#include "fmgr.h"

#include "guest_call.h"
#include "routine.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
  virtine_define_settings();
  virtine_watch_functions();
}
