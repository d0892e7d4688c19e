// The language virtine: functions of images. Their body is "schema.image export".
// SPDX-License-Identifier: MIT
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"

#include "guest_call.h"
#include "images.h"
#include "routine.h"

PG_FUNCTION_INFO_V1(virtine_call_handler);
PG_FUNCTION_INFO_V1(virtine_validator);

// The first room for what a function writes, and the most there is; an image's own memory for
// arguments is less.
enum { FIRST_ROOM = 1024, MAX_ROOM = 32 << 20 };

// The two words of a body.
static void split_body(char *body, char **image, char **function) {
  char *rest = NULL;

  *image = strtok_r(body, " \t\r\n", &rest);
  *function = strtok_r(NULL, " \t\r\n", &rest);
  if (*function == NULL || strtok_r(NULL, " \t\r\n", &rest) != NULL) {
    ereport(ERROR,
            errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
            errmsg("the body of a virtine is the name of an image, with its schema, and of a "
                   "function of the image"),
            errhint("AS 'schema.image export'"));
  }
}

static char *body_of(HeapTuple function) {
  bool is_null;
  const Datum body = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_prosrc, &is_null);

  return is_null ? pstrdup("") : TextDatumGetCString(body);
}

// Returns the signature of one of the image's functions.
static const char *signature_of(const virtine_image *image, const char *name) {
  virtine_export each = VIRTINE_EXPORT_INIT;
  size_t i;

  for (i = 0; i < virtine_export_count(image); ++i) {
    if (virtine_export_at(image, i, &each, NULL) == VIRTINE_OK && strcmp(each.name, name) == 0) {
      return each.signature;
    }
  }
  return "";
}

// Checks that the image's function is what SQL declares.
static void check_types(Routine *routine, bool is_strict) {
  GuestSignature *const guest = &routine->guest;
  int i;

  if (guest->count == routine->argument_count + 1) {
    const GuestType *const last = &guest->parameters[guest->count - 1];

    routine->writes_result =
        last->kind == GUEST_SPAN && last->is_output && guest->result.kind == GUEST_INT;
  }
  if (!routine->writes_result && guest->count != routine->argument_count) {
    ereport(ERROR,
            errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
            errmsg("the function of the image takes %d arguments, and %d are declared",
                   guest->count, routine->argument_count));
  }
  for (i = 0; i < routine->argument_count; ++i) {
    virtine_check_argument(&routine->arguments[i], &guest->parameters[i], !is_strict,
                           psprintf("argument %d", i + 1));
  }
  if (routine->writes_result) {
    const GuestType *const element = &guest->parameters[guest->count - 1].parts[0];

    virtine_check_elements(&routine->result, element, routine->is_set);
    routine->element_size = element->size;
  } else if (routine->is_set) {
    ereport(ERROR,
            errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
            errmsg("a function that returns a set has to write it into a std::span, its last "
                   "parameter, and return the number of elements"));
  } else {
    virtine_check_result(&routine->result, &guest->result);
  }
}

static void make(Routine *routine, HeapTuple tuple) {
  const Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
  char *const body = body_of(tuple), *image_name, *function_name;
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_function_options options = VIRTINE_FUNCTION_OPTIONS_INIT;
  virtine_image *image;
  HeapTuple image_tuple;
  Oid found;

  virtine_set_sql_types(routine, tuple);
  split_body(body, &image_name, &function_name);
  found = virtine_find_image(image_name, form->proowner);
  image_tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(found));
  if (!HeapTupleIsValid(image_tuple)) {
    ereport(ERROR,
            errcode(ERRCODE_UNDEFINED_FUNCTION),
            errmsg("there is no image %s", image_name));
  }
  routine->image = virtine_version_of(image_tuple);
  image = virtine_load_image(image_tuple, form->proowner);
  ReleaseSysCache(image_tuple);
  PG_TRY();
  {
    // One machine is in use at a time, but for functions that call each other by way of SQL.
    options.max_machines = 16;
    if (virtine_function_create(image, function_name, NULL, &options, &routine->function, &error)) {
      virtine_report(&error, routine->name);
    }
    routine->owns_function = true;
    if (!virtine_read_signature(signature_of(image, function_name), &routine->guest)) {
      ereport(ERROR,
              errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
              errmsg("%s has a signature that SQL cannot have", function_name));
    }
  }
  PG_FINALLY();
  {
    virtine_image_free(image);
  }
  PG_END_TRY();
  check_types(routine, form->proisstrict);
}

// Calls a function that writes its result, with more room if it asks for that. Returns the bytes,
// and their number in `size`.
static char *call_writer(Caller *caller, virtine_value *values, Size *size) {
  Routine *const routine = caller->routine;
  const uint32 element = routine->element_size;
  Size room = TYPEALIGN_DOWN(1, Max(caller->room, FIRST_ROOM));
  int tries;

  for (tries = 0; tries < 2; ++tries) {
    const Size count = Max(room / element, 1);
    char *const bytes = MemoryContextAllocHuge(CurrentMemoryContext, count * element);
    virtine_value result;

    values[routine->argument_count] = virtine_of_buffer(bytes, count * element);
    result = virtine_make_call(routine->function, &caller->session, routine->name, values,
                               routine->argument_count + 1);
    // The size is the guest's word.
    if (result.as.natural <= count) {
      *size = (Size) result.as.natural * element;
      return bytes;
    }
    if (result.as.natural > MAX_ROOM / element) break;
    pfree(bytes);
    caller->room = room = (Size) result.as.natural * element;
  }
  ereport(ERROR,
          errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
          errmsg("%s: the virtine has more to write than it may, or each time more", routine->name));
  return NULL;
}

static Datum give_set(FunctionCallInfo fcinfo, const char *bytes, Size size,
                      const Routine *routine) {
  ReturnSetInfo *const set = (ReturnSetInfo *) fcinfo->resultinfo;
  const int columns = routine->result.kind == SQL_ROW ? routine->result.count : 1;
  Datum *const values = palloc(columns * sizeof(Datum));
  bool *const nulls = palloc(columns * sizeof(bool));
  MemoryContext each_row, before;
  Size at;
  int i;

  InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
  // The query may have begun before the type was altered.
  for (i = 0; i < columns; ++i) {
    const SqlType *const column =
        routine->result.kind == SQL_ROW ? &routine->result.columns[i] : &routine->result;

    if (set->setDesc->natts != columns ||
        TupleDescAttr(set->setDesc, i)->atttypid != column->type) {
      ereport(ERROR,
              errcode(ERRCODE_DATATYPE_MISMATCH),
              errmsg("the query expects other columns than the function has"));
    }
  }
  each_row = AllocSetContextCreate(CurrentMemoryContext, "virtine row", ALLOCSET_SMALL_SIZES);
  before = MemoryContextSwitchTo(each_row);
  for (at = 0; at < size; at += routine->element_size) {
    virtine_from_element(bytes + at, &routine->result, values, nulls);
    if (routine->result.kind == SQL_ROW && routine->result.is_domain) {
      const HeapTuple row = heap_form_tuple(routine->result.row, values, nulls);

      virtine_check_domain(HeapTupleGetDatum(row), false, &routine->result);
    }
    tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
    MemoryContextReset(each_row);
  }
  MemoryContextSwitchTo(before);
  return (Datum) 0;
}

Datum virtine_call_handler(PG_FUNCTION_ARGS) {
  Caller *const caller = virtine_caller(fcinfo, make);
  Routine *const routine = caller->routine;
  virtine_value values[FUNC_MAX_ARGS + 1];
  int i;

  for (i = 0; i < routine->argument_count; ++i) {
    values[i] = virtine_to_guest(fcinfo->args[i].value, fcinfo->args[i].isnull,
                                 &routine->arguments[i], &routine->guest.parameters[i], i + 1);
  }
  if (routine->writes_result) {
    Size size;
    char *const bytes = call_writer(caller, values, &size);
    Datum result;

    if (routine->is_set) return give_set(fcinfo, bytes, size, routine);
    result = virtine_from_elements(bytes, size, &routine->result);
    virtine_check_domain(result, false, &routine->result);
    return result;
  } else {
    const virtine_value result =
        virtine_make_call(routine->function, &caller->session, routine->name, values,
                          routine->argument_count);

    return virtine_from_guest(&result, &routine->result, &routine->guest.result, &fcinfo->isnull);
  }
}

// Makes PostgreSQL know that the function needs the image: it is not dropped before, and is dumped
// first.
static void depend_on_image(Oid function, Oid image) {
  ObjectAddress depends, on;

  ObjectAddressSet(depends, ProcedureRelationId, function);
  ObjectAddressSet(on, ProcedureRelationId, image);
  deleteDependencyRecordsForSpecific(ProcedureRelationId, function, DEPENDENCY_NORMAL,
                                     ProcedureRelationId, image);
  recordDependencyOn(&depends, &on, DEPENDENCY_NORMAL);
}

Datum virtine_validator(PG_FUNCTION_ARGS) {
  const Oid oid = PG_GETARG_OID(0);
  char *image_name, *function_name;
  HeapTuple tuple;
  Oid image;

  if (!CheckFunctionValidatorAccess(fcinfo->flinfo->fn_oid, oid)) PG_RETURN_VOID();
  tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for function %u", oid);
  split_body(body_of(tuple), &image_name, &function_name);
  image = virtine_find_image(image_name, ((Form_pg_proc) GETSTRUCT(tuple))->proowner);
  // Also where nothing is to be checked, as in a restore.
  if (OidIsValid(image)) depend_on_image(oid, image);
  if (check_function_bodies) virtine_check_routine(tuple, make);
  ReleaseSysCache(tuple);
  PG_RETURN_VOID();
}
