// SPDX-License-Identifier: MIT
#include "routine.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "guest_call.h"

// Of functions that no query uses, so many keep their machines.
enum { MAX_IDLE = 32 };
// Of a function's machine; PostgreSQL has to know of them to keep within its limit.
enum { DESCRIPTORS = 5 };

static dlist_head routines = DLIST_STATIC_INIT(routines);
static uint64 changes = 1;

static void on_change(Datum argument, int cache, uint32 hash) {
  ++changes;
}

void virtine_watch_functions(void) {
  CacheRegisterSyscacheCallback(PROCOID, on_change, (Datum) 0);
}

FunctionVersion virtine_version_of(HeapTuple function) {
  FunctionVersion out = {((Form_pg_proc) GETSTRUCT(function))->oid,
                         HeapTupleHeaderGetRawXmin(function->t_data), function->t_self};

  return out;
}

static bool is_current(FunctionVersion *version) {
  HeapTuple tuple;
  FunctionVersion now;

  if (!OidIsValid(version->function)) return true;
  tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(version->function));
  if (!HeapTupleIsValid(tuple)) return false;
  now = virtine_version_of(tuple);
  ReleaseSysCache(tuple);
  return now.xmin == version->xmin && ItemPointerEquals(&now.place, &version->place);
}

static bool are_types_current(const Routine *routine) {
  int i;

  if (routine->arguments == NULL) return true;
  for (i = 0; i < routine->argument_count; ++i) {
    if (!virtine_is_current(&routine->arguments[i])) return false;
  }
  return virtine_is_current(&routine->result);
}

static bool is_up_to_date(Routine *routine) {
  const uint64 as_of = changes;

  // Of a type that was altered, the old columns' bytes are none of the new ones', nor pointers.
  if (!are_types_current(routine)) return false;

  // An image that was loaded when more was allowed is loaded again.
  if (routine->max_memory > virtine_limits_of_images().max_memory) return false;
  if (routine->checked == as_of) return true;
  if (!is_current(&routine->of) || !is_current(&routine->image)) return false;
  routine->checked = as_of;
  return true;
}

static void destroy(Routine *routine) {
  int i;

  if (routine->owns_function) {
    virtine_function_free(routine->function);
    for (i = 0; i < DESCRIPTORS; ++i) ReleaseExternalFD();
  }
  MemoryContextDelete(routine->memory);
}

static void leave_list(Routine *routine) {
  if (!routine->is_listed) return;
  dlist_delete(&routine->node);
  routine->is_listed = false;
  if (routine->users == 0) destroy(routine);
}

static void let_go(Routine *routine) {
  if (--routine->users == 0 && !routine->is_listed) destroy(routine);
}

static void destroy_idle(void) {
  dlist_mutable_iter each;
  int idle = 0;

  dlist_foreach_modify(each, &routines) {
    Routine *const routine = dlist_container(Routine, node, each.cur);

    if (routine->users == 0 && ++idle > MAX_IDLE) leave_list(routine);
  }
}

void virtine_set_sql_types(Routine *routine, HeapTuple function) {
  const Form_pg_proc form = (Form_pg_proc) GETSTRUCT(function);
  TupleDesc row = NULL;
  int i;

  if (form->prokind != PROKIND_FUNCTION) {
    ereport(ERROR,
            errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
            errmsg("a virtine can be neither a procedure nor a window function"));
  }
  routine->is_set = form->proretset;
  routine->argument_count = form->pronargs;
  routine->arguments = palloc(Max(form->pronargs, 1) * sizeof(SqlType));
  for (i = 0; i < form->pronargs; ++i) {
    routine->arguments[i] = virtine_sql_type(form->proargtypes.values[i], NULL, false);
  }
  if (form->prorettype == RECORDOID) row = build_function_result_tupdesc_t(function);
  routine->result = virtine_sql_type(form->prorettype, row, true);
}

// Makes a routine, which nobody uses yet.
static Routine *make_routine(HeapTuple function, RoutineMaker make) {
  const Form_pg_proc form = (Form_pg_proc) GETSTRUCT(function);
  const MemoryContext memory =
      AllocSetContextCreate(TopMemoryContext, "virtine function", ALLOCSET_SMALL_SIZES);
  const MemoryContext before = MemoryContextSwitchTo(memory);
  Routine *const routine = palloc0(sizeof(Routine));

  routine->memory = memory;
  routine->of = virtine_version_of(function);
  routine->checked = changes;
  routine->max_memory = virtine_limits_of_images().max_memory;
  routine->name = pstrdup(NameStr(form->proname));
  PG_TRY();
  {
    make(routine, function);
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(before);
    if (routine->owns_function) virtine_function_free(routine->function);
    MemoryContextDelete(memory);
    PG_RE_THROW();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(before);
  if (routine->owns_function) {
    int i;

    for (i = 0; i < DESCRIPTORS; ++i) ReserveExternalFD();
  }
  return routine;
}

void virtine_check_routine(HeapTuple function, RoutineMaker make) {
  destroy(make_routine(function, make));
}

static Routine *find(Oid function, RoutineMaker make) {
  dlist_mutable_iter each;
  HeapTuple tuple;
  Routine *made;

  dlist_foreach_modify(each, &routines) {
    Routine *const routine = dlist_container(Routine, node, each.cur);

    if (routine->of.function != function) continue;
    if (is_up_to_date(routine)) {
      dlist_move_head(&routines, &routine->node);
      return routine;
    }
    leave_list(routine);
  }
  tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for function %u", function);
  made = make_routine(tuple, make);
  ReleaseSysCache(tuple);
  dlist_push_head(&routines, &made->node);
  made->is_listed = true;
  destroy_idle();
  return made;
}

// At the end of the query, or when the backend ends.
static void release(void *given) {
  Caller *const caller = given;

  virtine_session_free(caller->session);
  caller->session = NULL;
  if (caller->routine != NULL) let_go(caller->routine);
  caller->routine = NULL;
  virtine_end_calls();
}

Caller *virtine_caller(FunctionCallInfo fcinfo, RoutineMaker make) {
  FmgrInfo *const place = fcinfo->flinfo;
  Caller *caller = place->fn_extra;

  if (caller == NULL) {
    MemoryContextCallback *const at_end =
        MemoryContextAllocZero(place->fn_mcxt, sizeof(MemoryContextCallback));

    caller = MemoryContextAllocZero(place->fn_mcxt, sizeof(Caller));
    at_end->func = release;
    at_end->arg = caller;
    MemoryContextRegisterResetCallback(place->fn_mcxt, at_end);
    place->fn_extra = caller;
  }
  if (caller->routine != NULL && !is_up_to_date(caller->routine)) release(caller);
  if (caller->routine == NULL) {
    Routine *const found = find(place->fn_oid, make);

    ++found->users;
    caller->routine = found;
    caller->scratch = NULL;
    caller->room = 0;
  }
  if (caller->session != NULL && !virtine_is_query_isolation()) {
    virtine_session_free(caller->session);
    caller->session = NULL;
  }
  // A function that writes its result is called again if the room was too little, as if it had not
  // been called before.
  if (caller->session == NULL && virtine_is_query_isolation() && !caller->routine->writes_result) {
    caller->session = virtine_make_session(caller->routine->function, caller->routine->name);
    caller->scratch = NULL;
  }
  return caller;
}
