// The language virtine_js: functions whose body is JavaScript, evaluated by an engine in a machine.
// Arguments reach it as JSON, and JSON comes back, as PostgreSQL itself makes and reads it.
// SPDX-License-Identifier: MIT
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "guest_call.h"
#include "routine.h"

PG_FUNCTION_INFO_V1(virtine_js_call_handler);
PG_FUNCTION_INFO_V1(virtine_js_validator);

// The first room for a result, and the most.
enum { FIRST_ROOM = 4096, MAX_ROOM = 512 * 1024 };

// What the engine's function returns beside the text; see examples/js/reply.hpp.
typedef struct Reply {
  uint32 outcome;
  int32 line;
  uint64 size;
} Reply;

// What a place in a query has for this language.
typedef struct Scratch {
  FmgrInfo to_json;    // makes the arguments one JSON array
  FmgrInfo from_json;  // makes a row of one column, the result, of {"result": JSON}
  Datum empty;         // such a row
  TupleDesc row;
  bool is_defined;  // The session's engine has the function.
} Scratch;

static virtine_function *engine;

// What scripts have logged; given out after the call, since a handler must not raise errors and
// may run on another thread.
static char logged[8192];
static size_t logged_size;

static int on_log(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  const size_t size = arguments[0].as.bytes.size;

  if (size < sizeof logged - logged_size) {
    memcpy(logged + logged_size, arguments[0].as.bytes.data, size);
    logged_size += size;
    logged[logged_size++] = '\n';
  }
  return 0;
}

static int on_get(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  // A js::found in which nothing is.
  static const char nothing[4016];

  *result = virtine_of_bytes(nothing, sizeof nothing);
  return 0;
}

static void make_engine(void) {
  virtine_load_options limits = virtine_limits_of_images();
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_policy *policy = NULL;
  virtine_image *image = NULL;
  virtine_function *made = NULL;
  const virtine_value nothing[] = {virtine_of_text("null", 4), virtine_of_text("null", 4),
                                   virtine_of_int(0), virtine_of_buffer(NULL, 0)};
  char path[MAXPGPATH];

  limits.initialiser_timeout = 0;
  snprintf(path, sizeof path, "%s/virtine_js.virtine", pkglib_path);
  if (virtine_load(path, &limits, &image, &error) || virtine_policy_create(&policy, &error) ||
      virtine_policy_add_hypercall(policy, 1, "v(s)", on_log, NULL, &error) ||
      virtine_policy_add_hypercall(policy, 2, "{4016.8}(s)", on_get, NULL, &error)) {
    // Told below.
  } else if (virtine_function_create(image, "evaluate", policy, NULL, &made, &error) == 0) {
    // Now, so that making the engine ready counts for nobody's virtine.timeout.
    virtine_call(made, nothing, lengthof(nothing), NULL, NULL, &error);
  }
  virtine_policy_free(policy);
  virtine_image_free(image);
  if (error.code != VIRTINE_OK) {
    virtine_function_free(made);
    virtine_report(&error, "virtine_js");
  }
  engine = made;
}

static char *in_utf8(const char *text, int size) {
  return pg_server_to_any(text, size, PG_UTF8);
}

// The names of the parameters, as JavaScript has them: $1 where SQL has none.
static void append_parameters(StringInfo out, HeapTuple function) {
  char **names = NULL, *modes = NULL;
  Oid *types;
  const int count = get_func_arg_info(function, &types, &names, &modes);
  int i, given = 0;

  for (i = 0; i < count; ++i) {
    const char *name = names != NULL ? names[i] : "";

    if (modes != NULL && (modes[i] == PROARGMODE_OUT || modes[i] == PROARGMODE_TABLE)) continue;
    ++given;
    if (*name == '\0') name = psprintf("$%d", given);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$") !=
            strlen(name) ||
        (*name >= '0' && *name <= '9')) {
      ereport(ERROR,
              errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
              errmsg("the parameter \"%s\" has a name that JavaScript cannot have", name));
    }
    appendStringInfo(out, "%s%s", given > 1 ? "," : "", name);
  }
}

static void make(Routine *routine, HeapTuple tuple) {
  const Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);
  StringInfoData script;
  bool is_null;
  Datum body;
  char *source;

  if (engine == NULL) make_engine();
  if (form->prorettype == TRIGGEROID || form->prorettype == EVENT_TRIGGEROID ||
      form->prokind != PROKIND_FUNCTION) {
    ereport(ERROR,
            errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
            errmsg("only functions that are no triggers can be of the language virtine_js"));
  }
  routine->function = engine;
  routine->is_set = form->proretset;
  routine->argument_count = form->pronargs;
  routine->result.type = form->prorettype;
  if (form->prorettype == RECORDOID) {
    routine->result.row = build_function_result_tupdesc_t(tuple);
    if (routine->result.row == NULL) {
      ereport(ERROR,
              errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
              errmsg("a function that returns record has to name its columns"));
    }
    routine->result.row = BlessTupleDesc(routine->result.row);
  }
  body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &is_null);
  source = is_null ? pstrdup("") : TextDatumGetCString(body);
  initStringInfo(&script);
  appendStringInfoString(&script, "(function(");
  append_parameters(&script, tuple);
  // In a line of its own, so that a comment in the last line ends there.
  appendStringInfo(&script, "){%s\n})", source);
  routine->script = in_utf8(script.data, script.len);
}

// Prepares a call of one of PostgreSQL's functions, which finds the types of its arguments there.
static void prepare_call(FmgrInfo *call, Oid function, Oid result, const Oid *types, int count) {
  List *arguments = NIL;
  int i;

  for (i = 0; i < count; ++i) {
    arguments = lappend(arguments, makeNullConst(types[i], -1, InvalidOid));
  }
  fmgr_info(function, call);
  fmgr_info_set_expr((Node *) makeFuncExpr(function, result, arguments, InvalidOid, InvalidOid,
                                           COERCE_EXPLICIT_CALL),
                     call);
}

static Scratch *scratch_of(FunctionCallInfo fcinfo, Caller *caller) {
  static const Oid from_json[] = {RECORDOID, JSONBOID};
  const SqlType *const result = &caller->routine->result;
  Scratch *scratch = caller->scratch;
  MemoryContext before;
  bool is_null = true;
  Datum nothing = (Datum) 0;
  Oid *types;
  int count;

  if (scratch != NULL) return scratch;
  before = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
  scratch = palloc0(sizeof(Scratch));
  get_func_signature(fcinfo->flinfo->fn_oid, &types, &count);
  if (count > 0) {
    prepare_call(&scratch->to_json, F_JSON_BUILD_ARRAY_ANY, JSONOID, types, count);
  }
  if (result->type != VOIDOID) {
    prepare_call(&scratch->from_json, F_JSONB_POPULATE_RECORD, RECORDOID, from_json, 2);
    scratch->row = CreateTemplateTupleDesc(1);
    TupleDescInitEntry(scratch->row, 1, "result", result->type,
                       result->row != NULL ? result->row->tdtypmod : -1, 0);
    scratch->row = BlessTupleDesc(scratch->row);
    scratch->empty = HeapTupleGetDatum(heap_form_tuple(scratch->row, &nothing, &is_null));
  }
  MemoryContextSwitchTo(before);
  caller->scratch = scratch;
  return scratch;
}

static char *arguments_as_json(FunctionCallInfo fcinfo, Scratch *scratch, int count) {
  LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
  text *json;

  if (count == 0) return "[]";
  InitFunctionCallInfoData(*inner, &scratch->to_json, count, fcinfo->fncollation, NULL, NULL);
  memcpy(inner->args, fcinfo->args, count * sizeof(NullableDatum));
  json = DatumGetTextPP(FunctionCallInvoke(inner));
  return in_utf8(text_to_cstring(json), VARSIZE_ANY_EXHDR(json));
}

static void give_out_log(const char *name) {
  char *text;

  if (logged_size == 0) return;
  text = pnstrdup(logged, logged_size - 1);
  logged_size = 0;
  ereport(NOTICE, errmsg("%s: %s", name, pg_any_to_server(text, strlen(text), PG_UTF8)));
}

// Evaluates a script for which `input` is the JSON; returns its last value, as JSON of this
// database's encoding. `again` gives the same once more if the room was too little.
static char *evaluate(Caller *caller, const char *script, const char *again, const char *input) {
  const char *const name = caller->routine->name;
  Size room = Max(caller->room, FIRST_ROOM);

  for (;;) {
    char *const text = palloc(room + 1);
    const virtine_value arguments[] = {
        virtine_of_text(script, strlen(script)), virtine_of_text(input, strlen(input)),
        // Dates are as of the statement, and stand still.
        virtine_of_int(GetCurrentStatementStartTimestamp() +
                       (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY),
        virtine_of_buffer(text, room)};
    virtine_value result;
    Reply reply;

    logged_size = 0;
    result = virtine_make_call(caller->routine->function, &caller->session, name, arguments, 4);
    memcpy(&reply, result.as.bytes.data, sizeof reply);
    text[Min(reply.size, room)] = '\0';
    if (reply.outcome != 0) {
      give_out_log(name);
      ereport(ERROR,
              errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
              errmsg("%s: %s", name, pg_any_to_server(text, strlen(text), PG_UTF8)),
              reply.line > 0 ? errdetail("In line %d of the function.", reply.line) : 0);
    }
    if (reply.size <= room) {
      give_out_log(name);
      return pg_any_to_server(text, strlen(text), PG_UTF8);
    }
    if (reply.size > MAX_ROOM) {
      ereport(ERROR,
              errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
              errmsg("%s: the result is larger than %d bytes", name, MAX_ROOM));
    }
    pfree(text);
    caller->room = room = reply.size;
    script = again;
  }
}

// What makes a row, or an array of rows, of what a function returns.
static const char *wrapper(const Routine *routine) {
  if (!routine->is_set) return "(function(r){return{result:r}})";
  return "(function(r){if(!Array.isArray(r))throw new TypeError('a function that returns a set has "
         "to return an array');return r.map(function(e){return{result:e}})})";
}

static char *call(Caller *caller, Scratch *scratch, const char *input) {
  const Routine *const routine = caller->routine;
  char *script;

  if (caller->session == NULL) {
    script = psprintf("%s(%s.apply(null,input))", wrapper(routine), routine->script);
    return evaluate(caller, script, script, input);
  }
  // The session's engine keeps the function, and the result until it is known to fit.
  if (!scratch->is_defined) {
    script = psprintf("var $virtine=%s,$wrap=%s,$result;null", routine->script, wrapper(routine));
    evaluate(caller, script, script, "null");
    scratch->is_defined = true;
  }
  return evaluate(caller, "$result=$wrap($virtine.apply(null,input))", "$result", input);
}

// Returns the value of {"result": JSON} as the function's result.
static Datum from_json(Scratch *scratch, Jsonb *json, bool *is_null) {
  LOCAL_FCINFO(inner, 2);
  HeapTupleHeader row;
  HeapTupleData tuple = {0};

  InitFunctionCallInfoData(*inner, &scratch->from_json, 2, InvalidOid, NULL, NULL);
  inner->args[0].value = scratch->empty;
  inner->args[0].isnull = false;
  inner->args[1].value = JsonbPGetDatum(json);
  inner->args[1].isnull = false;
  row = DatumGetHeapTupleHeader(FunctionCallInvoke(inner));
  tuple.t_data = row;
  tuple.t_len = HeapTupleHeaderGetDatumLength(row);
  return heap_getattr(&tuple, 1, scratch->row, is_null);
}

// The query may have begun before the type of its rows was altered.
static void check_columns(TupleDesc expected, const SqlType *as) {
  const TupleDesc now = as->row != NULL ? as->row : lookup_rowtype_tupdesc_copy(getBaseType(as->type), -1);
  bool is_same = expected->natts == now->natts;
  int i;

  for (i = 0; is_same && i < now->natts; ++i) {
    const Form_pg_attribute a = TupleDescAttr(expected, i), b = TupleDescAttr(now, i);

    is_same = a->atttypid == b->atttypid && a->attisdropped == b->attisdropped;
  }
  if (!is_same) {
    ereport(ERROR,
            errcode(ERRCODE_DATATYPE_MISMATCH),
            errmsg("the query expects other columns than the function has"));
  }
}

static Datum give_set(FunctionCallInfo fcinfo, Scratch *scratch, Jsonb *all, const SqlType *as) {
  // A domain of a composite type is one in the set, too.
  const bool is_row =
      as->row != NULL || get_typtype(getBaseType(as->type)) == TYPTYPE_COMPOSITE;
  ReturnSetInfo *const set = (ReturnSetInfo *) fcinfo->resultinfo;
  MemoryContext each_row, before;
  uint32 i;

  InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
  if (is_row) check_columns(set->setDesc, as);
  each_row = AllocSetContextCreate(CurrentMemoryContext, "virtine_js row", ALLOCSET_SMALL_SIZES);
  before = MemoryContextSwitchTo(each_row);
  for (i = 0; i < JB_ROOT_COUNT(all); ++i) {
    JsonbValue *const element = getIthJsonbValueFromContainer(&all->root, i);
    bool is_null;
    Datum value = from_json(scratch, JsonbValueToJsonb(element), &is_null);

    if (!is_row) {
      tuplestore_putvalues(set->setResult, set->setDesc, &value, &is_null);
    } else if (!is_null) {
      HeapTupleData row = {0};

      row.t_data = DatumGetHeapTupleHeader(value);
      row.t_len = HeapTupleHeaderGetDatumLength(row.t_data);
      tuplestore_puttuple(set->setResult, &row);
    } else {
      ereport(ERROR,
              errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
              errmsg("a row of a set cannot be null"));
    }
    MemoryContextReset(each_row);
  }
  MemoryContextSwitchTo(before);
  return (Datum) 0;
}

Datum virtine_js_call_handler(PG_FUNCTION_ARGS) {
  Caller *const caller = virtine_caller(fcinfo, make);
  const Routine *const routine = caller->routine;
  Scratch *const scratch = scratch_of(fcinfo, caller);
  char *const text = call(caller, scratch,
                          arguments_as_json(fcinfo, scratch, routine->argument_count));
  Jsonb *json;

  if (routine->result.type == VOIDOID) PG_RETURN_VOID();
  json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
  if (routine->is_set) return give_set(fcinfo, scratch, json, &routine->result);
  return from_json(scratch, json, &fcinfo->isnull);
}

// As make(); an error if the body is no JavaScript.
static void make_and_compile(Routine *routine, HeapTuple tuple) {
  Caller caller = {.routine = routine};
  char *script;

  make(routine, tuple);
  script = psprintf("%s;null", routine->script);
  evaluate(&caller, script, script, "null");
}

Datum virtine_js_validator(PG_FUNCTION_ARGS) {
  const Oid oid = PG_GETARG_OID(0);
  HeapTuple tuple;

  if (!CheckFunctionValidatorAccess(fcinfo->flinfo->fn_oid, oid)) PG_RETURN_VOID();
  if (!check_function_bodies) PG_RETURN_VOID();
  tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for function %u", oid);
  virtine_check_routine(tuple, make_and_compile);
  ReleaseSysCache(tuple);
  PG_RETURN_VOID();
}
