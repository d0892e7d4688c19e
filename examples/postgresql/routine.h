// The functions of the language virtine that a backend has called: what their calls need, kept until
// the function or its image changes.
// SPDX-License-Identifier: MIT
#ifndef VIRTINE_PG_ROUTINE_H
#define VIRTINE_PG_ROUTINE_H

#include "postgres.h"

#include "access/htup.h"
#include "fmgr.h"
#include "lib/ilist.h"
#include "storage/itemptr.h"

#include "signature.h"
#include "values.h"

// Which version of a row of pg_proc something was made of.
typedef struct FunctionVersion {
  Oid function;
  TransactionId xmin;
  ItemPointerData place;
} FunctionVersion;

typedef struct Routine {
  FunctionVersion of;
  FunctionVersion image;  // InvalidOid: it has none of its own
  dlist_node node;        // of all routines, the last used first
  bool is_listed;
  int users;
  uint64 checked;  // as of which change of functions it is known to be up to date
  MemoryContext memory;
  char *name;
  bool is_set;
  int argument_count;
  SqlType *arguments;
  SqlType result;
  virtine_function *function;
  bool owns_function;
  uint64 max_memory;  // under which its image was loaded
  // Of the language virtine.
  GuestSignature guest;
  bool writes_result;  // into a span, which is its last parameter
  uint32 element_size;
  // Of the language virtine_js.
  char *script;
} Routine;

// What one place in a query has, from its first call to the end of the query.
typedef struct Caller {
  Routine *routine;
  virtine_session *session;
  void *scratch;  // of the language
  Size room;      // for what is written, as much as calls have needed
} Caller;

// Makes what is missing of a routine, of which `name` is set.
typedef void (*RoutineMaker)(Routine *routine, HeapTuple function);

// Returns what belongs to this place in the query, with a routine that is up to date.
extern Caller *virtine_caller(FunctionCallInfo fcinfo, RoutineMaker make);

// Makes a routine of the function, which is checked and thrown away.
extern void virtine_check_routine(HeapTuple function, RoutineMaker make);

// Sets the types of a routine as SQL has them.
extern void virtine_set_sql_types(Routine *routine, HeapTuple function);

// Asks for changes of functions, when the extension is loaded.
extern void virtine_watch_functions(void);

extern FunctionVersion virtine_version_of(HeapTuple function);

#endif
