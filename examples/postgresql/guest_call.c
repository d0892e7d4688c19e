// SPDX-License-Identifier: MIT
#include "guest_call.h"

#include <limits.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

enum { ISOLATION_ROW, ISOLATION_QUERY };

static const struct config_enum_entry isolations[] = {
    {"row", ISOLATION_ROW, false}, {"query", ISOLATION_QUERY, false}, {NULL, 0, false}};

// Each limit is the lower one of what the session asks for and of what its superuser allows.
static int isolation = ISOLATION_ROW;
static bool allow_query_isolation = true;
static int timeout = 10000, max_timeout = 10000;        // ms
static int memory = 64 * 1024, max_memory = 64 * 1024;  // kB

void virtine_define_settings(void) {
  DefineCustomEnumVariable("virtine.isolation",
                           "Which calls of a function get a machine as new: those of each row, or "
                           "of each query.",
                           NULL, &isolation, ISOLATION_ROW, isolations, PGC_USERSET, 0, NULL, NULL,
                           NULL);
  DefineCustomBoolVariable("virtine.allow_query_isolation",
                           "Whether virtine.isolation may be \"query\"; else it counts as \"row\".",
                           NULL, &allow_query_isolation, true, PGC_SUSET, 0, NULL, NULL, NULL);
  DefineCustomIntVariable("virtine.timeout", "How long each call of a guest may take.", NULL,
                          &timeout, 10000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
  DefineCustomIntVariable("virtine.max_timeout", "The most that virtine.timeout can be.", NULL,
                          &max_timeout, 10000, 1, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL,
                          NULL);
  DefineCustomIntVariable("virtine.memory", "How much memory the machine of an image may have.",
                          NULL, &memory, 64 * 1024, 64, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB,
                          NULL, NULL, NULL);
  DefineCustomIntVariable("virtine.max_memory", "The most that virtine.memory can be.", NULL,
                          &max_memory, 64 * 1024, 64, MAX_KILOBYTES, PGC_SUSET, GUC_UNIT_KB, NULL,
                          NULL, NULL);
  MarkGUCPrefixReserved("virtine");
}

bool virtine_is_query_isolation(void) {
  return isolation == ISOLATION_QUERY && allow_query_isolation;
}

static uint64 nanoseconds(void) {
  return (uint64) Min(timeout, max_timeout) * 1000000;
}

virtine_load_options virtine_limits_of_images(void) {
  virtine_load_options options = VIRTINE_LOAD_OPTIONS_INIT;

  options.max_memory = (uint64) Min(memory, max_memory) * 1024;
  options.initialiser_timeout = nanoseconds();
  return options;
}

// What PostgreSQL's signal handlers leave behind where CHECK_FOR_INTERRUPTS() would not return.
static bool is_to_stop(void) {
  return InterruptPending && InterruptHoldoffCount == 0 && CritSectionCount == 0 &&
         (ProcDiePending || (QueryCancelPending && QueryCancelHoldoffCount == 0));
}

// PostgreSQL's handlers do not call virtine_ask_stop_if(), so a signal that comes just before the
// guest is entered goes unnoticed until this does. It goes on from the first call of a query to the
// query's end, because to set a timer costs more than a call.
static void tick(void) {
  virtine_ask_stop_if();
}

static void abandon(int code, Datum argument) {
  virtine_abandon_calls();
}

static TimeoutId ticks;
static int prepared = 0;  // The process in which there are ticks.

// In a backend of its own, so that the postmaster, which preloads libraries, has none of it.
static void prepare_backend(void) {
  if (prepared == MyProcPid) return;
  if (prepared == 0) ticks = RegisterTimeout(USER_TIMEOUT, tick);
  on_proc_exit(abandon, (Datum) 0);
  prepared = MyProcPid;
}

static int sqlstate_of(int code) {
  switch (code) {
    case VIRTINE_NO_KVM:
    case VIRTINE_MACHINE_FAILURE:
    case VIRTINE_HOST_UNFIT:
      return ERRCODE_SYSTEM_ERROR;
    case VIRTINE_OS_ERROR:
      return ERRCODE_INSUFFICIENT_RESOURCES;
    case VIRTINE_IMAGE_REFUSED:
      return ERRCODE_INVALID_FUNCTION_DEFINITION;
    case VIRTINE_BAD_ARGUMENT:
      return ERRCODE_INVALID_PARAMETER_VALUE;
    case VIRTINE_ARGUMENTS_TOO_LARGE:
    case VIRTINE_TIMED_OUT:
    case VIRTINE_HYPERCALL_LIMIT:
    case VIRTINE_POOL_EXHAUSTED:
      return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
    case VIRTINE_CANCELLED:
      return ERRCODE_QUERY_CANCELED;
    default:
      return ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
  }
}

void virtine_report(const virtine_error *error, const char *name) {
  // Says by itself what it was, and does not come back.
  if (error->code == VIRTINE_CANCELLED) CHECK_FOR_INTERRUPTS();
  ereport(ERROR,
          errcode(sqlstate_of(error->code)),
          errmsg("%s: %s", name, error->text),
          error->code == VIRTINE_TIMED_OUT ? errhint("virtine.timeout says how long calls may take.")
          : error->code == VIRTINE_NO_KVM
              ? errhint("The server's user needs the right to read and write /dev/kvm.")
          : strstr(error->text, "max_memory") != NULL
              ? errhint("virtine.memory says how much memory an image may have.")
              : 0);
  pg_unreachable();
}

// A copy in the current memory context, so that no error leaks what the library has allocated.
static virtine_value copied(const virtine_value *from) {
  virtine_value out = *from;

  out.owned = 0;
  if (from->kind == VIRTINE_BYTES) {
    out.as.bytes.data = memcpy(palloc(Max(from->as.bytes.size, 1)), from->as.bytes.data,
                               from->as.bytes.size);
  } else if (from->kind == VIRTINE_LIST) {
    virtine_value *const items = palloc(Max(from->as.list.count, 1) * sizeof(virtine_value));
    size_t i;

    for (i = 0; i < from->as.list.count; ++i) items[i] = copied(&from->as.list.items[i]);
    out.as.list.items = items;
  }
  return out;
}

// Begins a stay in the library, which a query that is cancelled ends; returns its limits.
static virtine_call_options begin(void) {
  virtine_call_options options = VIRTINE_CALL_OPTIONS_INIT;

  prepare_backend();
  CHECK_FOR_INTERRUPTS();
  options.timeout = nanoseconds();
  options.stop_if = is_to_stop;
  // An error disables all timeouts.
  if (!get_timeout_active(ticks)) enable_timeout_every(ticks, GetCurrentTimestamp(), 100);
  return options;
}

void virtine_end_calls(void) {
  if (prepared == MyProcPid) disable_timeout(ticks, false);
}

virtine_session *virtine_make_session(virtine_function *function, const char *name) {
  const virtine_call_options options = begin();
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_session *session = NULL;

  virtine_session_create(function, &options, &session, &error);
  if (error.code != VIRTINE_OK) virtine_report(&error, name);
  return session;
}

virtine_value virtine_make_call(virtine_function *function, virtine_session **session,
                                const char *name, const virtine_value *arguments, int count) {
  const virtine_call_options options = begin();
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_value result = VIRTINE_VALUE_INIT, out;

  if (*session != NULL) {
    virtine_session_call(*session, arguments, (size_t) count, &result, &options, &error);
  } else {
    virtine_call(function, arguments, (size_t) count, &result, &options, &error);
  }
  if (error.code != VIRTINE_OK) {
    // It would go on to fail with this error.
    virtine_session_free(*session);
    *session = NULL;
    virtine_report(&error, name);
  }
  if (!result.owned) return result;
  PG_TRY();
  {
    out = copied(&result);
  }
  PG_FINALLY();
  {
    virtine_value_clear(&result);
  }
  PG_END_TRY();
  return out;
}
