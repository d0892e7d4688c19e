/* Virtines for C, and for whatever calls C: functions of image files, each call in a virtual
 * machine of its own. Needs C99. Link the library libvirtine, or compile <virtine/c/virtine.hpp>
 * into one C++ source of the program.
 *
 *   virtine_image *image = NULL;
 *   virtine_function *square = NULL;
 *   virtine_error error = VIRTINE_ERROR_INIT;
 *   virtine_value argument = virtine_of_int(3), result = VIRTINE_VALUE_INIT;
 *   if (virtine_load("plugin.virtine", NULL, &image, &error) ||
 *       virtine_function_create(image, "square", NULL, NULL, &square, &error) ||
 *       virtine_call(square, &argument, 1, &result, NULL, &error)) {
 *     fprintf(stderr, "%s\n", error.text);
 *   }
 *
 * Functions that can fail return 0, or a virtine_code and say more in `error`, which may be NULL.
 * They change no other result then. Handles are made and destroyed in pairs (create or load, and
 * free); a free of NULL does nothing. Any number of threads may use image and function handles; a
 * policy is for one at a time. There is no global state. A handle of another kind, or a freed one
 * as far as its memory still tells, is VIRTINE_MISUSE.
 *
 * Options begin with their size, which VIRTINE_..._INIT sets; members that are 0 have the default.
 * SPDX-License-Identifier: MIT */
#ifndef VIRTINE_C_VIRTINE_H
#define VIRTINE_C_VIRTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define VIRTINE_API __attribute__((visibility("default")))
#else
#define VIRTINE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong. docs/errors.md has a heading for each; the numbers never change. */
typedef enum virtine_code {
  VIRTINE_OK = 0,
  /* This machine could not. */
  VIRTINE_NO_KVM = 1,
  VIRTINE_OS_ERROR = 2,
  VIRTINE_MACHINE_FAILURE = 3,
  VIRTINE_HOST_UNFIT = 4,
  /* The caller asked for what cannot be. */
  VIRTINE_ARGUMENTS_TOO_LARGE = 10,
  VIRTINE_OUT_OF_RANGE = 11,
  VIRTINE_SESSION_IN_USE = 12,
  VIRTINE_SNAPSHOT_REFUSED = 13,
  VIRTINE_IMAGE_REFUSED = 14,
  VIRTINE_BAD_GRANT = 15,
  VIRTINE_BAD_ARGUMENT = 16,
  VIRTINE_MISUSE = 17, /* NULL, a handle that is none, options of an unknown size. */
  /* The guest did. */
  VIRTINE_GUEST_FAULT = 20,
  VIRTINE_HYPERCALL_DENIED = 21,
  VIRTINE_HYPERCALL_REJECTED = 22,
  VIRTINE_BAD_REPLY = 23,
  VIRTINE_SYSTEM_CALL_DENIED = 24,
  VIRTINE_EXITED = 25,
  /* A limit was reached. */
  VIRTINE_TIMED_OUT = 30,
  VIRTINE_CANCELLED = 31,
  VIRTINE_HYPERCALL_LIMIT = 32,
  VIRTINE_POOL_EXHAUSTED = 33,
  VIRTINE_CPU_LIMIT = 34
} virtine_code;

/* Returns the name of a code: "guest_fault". */
VIRTINE_API const char *virtine_code_name(int code);

/* What is known of a failure. The caller's: nothing of it has to be freed. */
typedef struct virtine_error {
  size_t size; /* of this struct */
  int32_t code;
  int32_t os_error; /* errno of a failed system call, else 0 */
  uint64_t detail;  /* a number that belongs to the code */
  uint64_t fault_instruction; /* where a guest faulted, as its address */
  uint64_t fault_address;     /* what it accessed then, or 0 */
  char text[512];   /* one line for people, cut off if it is longer */
} virtine_error;
#define VIRTINE_ERROR_INIT \
  { sizeof(virtine_error), 0, 0, 0, 0, 0, "" }

/* Returns the version of the library: 10203 is 1.2.3. */
VIRTINE_API uint32_t virtine_version(void);

/* ---- Values ---- */

typedef enum virtine_kind {
  VIRTINE_NONE = 0,   /* no result; an optional without a value */
  VIRTINE_BOOL = 1,   /* as.boolean, 0 or 1 */
  VIRTINE_INT = 2,    /* as.integer; enums, too. Results only if they are negative */
  VIRTINE_UINT = 3,   /* as.natural; results that are not negative, of any integer type */
  VIRTINE_DOUBLE = 4, /* as.floating */
  VIRTINE_TEXT = 5,   /* as.bytes: characters, for string_view and spans of char */
  VIRTINE_BYTES = 6,  /* as.bytes: a struct, virtine::bytes<N>, or the elements of a span as they
                         lie in memory */
  VIRTINE_BUFFER = 7, /* as.buffer: elements of a span that is written to */
  VIRTINE_LIST = 8    /* as.list: the elements of a span, the parts of a tuple or array, the number
                         of a variant's alternative and its value; 2^20 values at most, those of
                         lists in it included */
} virtine_kind;

typedef struct virtine_value {
  uint32_t kind;  /* a virtine_kind */
  uint32_t owned; /* 0; the library sets it in results that virtine_value_clear() has to free */
  union {
    uint8_t boolean;
    int64_t integer;
    uint64_t natural;
    double floating;
    struct {
      const void *data;
      size_t size;
    } bytes;
    struct {
      void *data;
      size_t size;
    } buffer;
    struct {
      const struct virtine_value *items;
      size_t count;
    } list;
  } as;
} virtine_value;
#define VIRTINE_VALUE_INIT \
  { VIRTINE_NONE, 0, { 0 } }

static inline virtine_value virtine_of_bool(int value) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_BOOL;
  out.as.boolean = value != 0;
  return out;
}
static inline virtine_value virtine_of_int(int64_t value) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_INT;
  out.as.integer = value;
  return out;
}
static inline virtine_value virtine_of_uint(uint64_t value) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_UINT;
  out.as.natural = value;
  return out;
}
static inline virtine_value virtine_of_double(double value) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_DOUBLE;
  out.as.floating = value;
  return out;
}
/* These refer to what they are given, which has to live until the call is over. */
static inline virtine_value virtine_of_text(const char *characters, size_t size) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_TEXT;
  out.as.bytes.data = characters;
  out.as.bytes.size = size;
  return out;
}
static inline virtine_value virtine_of_bytes(const void *data, size_t size) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_BYTES;
  out.as.bytes.data = data;
  out.as.bytes.size = size;
  return out;
}
static inline virtine_value virtine_of_buffer(void *data, size_t size) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_BUFFER;
  out.as.buffer.data = data;
  out.as.buffer.size = size;
  return out;
}
static inline virtine_value virtine_of_list(const virtine_value *items, size_t count) {
  virtine_value out = VIRTINE_VALUE_INIT;
  out.kind = VIRTINE_LIST;
  out.as.list.items = items;
  out.as.list.count = count;
  return out;
}

/* Frees what a result owns and makes it VIRTINE_NONE. Does no more to other values, and nothing to
 * NULL. */
VIRTINE_API void virtine_value_clear(virtine_value *value);

/* ---- Images ---- */

typedef struct virtine_image virtine_image;

/* What an image file may ask of this process at most. */
typedef struct virtine_load_options {
  size_t size;
  uint64_t max_memory;          /* bytes of a machine; default 64 MiB */
  uint64_t max_stack;           /* bytes of it that are stack; default 8 MiB */
  uint64_t max_arguments;       /* bytes of it for arguments; default 32 MiB */
  uint64_t max_symbols;         /* symbols and source lines; default 1,000,000 */
  uint64_t initialiser_timeout; /* nanoseconds; default 10 s */
} virtine_load_options;
#define VIRTINE_LOAD_OPTIONS_INIT \
  { sizeof(virtine_load_options), 0, 0, 0, 0, 0 }

/* Loads an image file, as `virtine-cc plugin.cpp -o plugin.virtine` makes them. Nothing in it is
 * trusted. `options` may be NULL. */
VIRTINE_API int virtine_load(const char *path, const virtine_load_options *options,
                             virtine_image **image, virtine_error *error);
/* The same of a file that is in memory; the bytes are not needed afterwards. */
VIRTINE_API int virtine_load_bytes(const void *bytes, size_t size,
                                   const virtine_load_options *options, virtine_image **image,
                                   virtine_error *error);
/* What was made of the image stays. */
VIRTINE_API void virtine_image_free(virtine_image *image);

/* A function that an image exports. The texts live as long as the image's handle. */
typedef struct virtine_export {
  size_t size;
  const char *name;
  const char *signature; /* as docs/guest-abi.md has it: "i4(i4)" */
} virtine_export;
#define VIRTINE_EXPORT_INIT \
  { sizeof(virtine_export), NULL, NULL }

/* Returns how many functions an image exports; 0 of NULL. */
VIRTINE_API size_t virtine_export_count(const virtine_image *image);
/* Tells function `index`, from 0, in the order of their names. */
VIRTINE_API int virtine_export_at(const virtine_image *image, size_t index, virtine_export *found,
                                  virtine_error *error);
/* Writes a signature as C++ ("int(int)") to `into`, of `size` bytes, cut off if that is too few,
 * and ended by a zero byte. Returns the length of all of it. */
VIRTINE_API size_t virtine_signature_as_cpp(const char *signature, char *into, size_t size);

/* ---- Policies: what a guest may ask for. One without grants denies everything. ---- */

typedef struct virtine_policy virtine_policy;

VIRTINE_API int virtine_policy_create(virtine_policy **policy, virtine_error *error);
/* What was made with the policy keeps its grants. */
VIRTINE_API void virtine_policy_free(virtine_policy *policy);

/* Gets what a guest writes to standard output and error. */
typedef void (*virtine_output)(void *context, const char *text, size_t size);
/* Grants output of `most` bytes a call. */
VIRTINE_API int virtine_policy_add_output(virtine_policy *policy, virtine_output output,
                                          void *context, uint64_t most, virtine_error *error);
/* Grants the files below `host_path`, which the guest has at `guest_path`, to be read; and to be
 * written, `most` bytes a call, if `most` is not 0. */
VIRTINE_API int virtine_policy_add_directory(virtine_policy *policy, const char *host_path,
                                             const char *guest_path, uint64_t most,
                                             virtine_error *error);
/* Gives guests the open descriptor `host` as their `guest`, from 0 to 63. `rights` is 1 to read, 2
 * to write, 3 for both. */
VIRTINE_API int virtine_policy_add_descriptor(virtine_policy *policy, int guest, int host,
                                              int rights, virtine_error *error);
/* Grants time, and sleeping. */
VIRTINE_API int virtine_policy_add_clock(virtine_policy *policy, virtine_error *error);
/* Grants random bytes. */
VIRTINE_API int virtine_policy_add_entropy(virtine_policy *policy, virtine_error *error);
/* Grants an environment of `count` strings "NAME=value". */
VIRTINE_API int virtine_policy_add_environment(virtine_policy *policy, const char *const *strings,
                                               size_t count, virtine_error *error);
/* Lets system calls that nothing grants fail with ENOSYS, where they would end the call. */
VIRTINE_API int virtine_policy_add_others_fail(virtine_policy *policy, virtine_error *error);

/* Answers a hypercall: sets `result`, and returns 0; anything else ends the call. Texts come as
 * VIRTINE_TEXT, spans as VIRTINE_BYTES, or, to be filled, as VIRTINE_BUFFER; they are copies, valid
 * until this returns. What `result` refers to has to stay as it is until the thread's call is over.
 * Runs on the thread that calls, so on several at once if these call. */
typedef int (*virtine_handler)(void *context, virtine_value *arguments, size_t count,
                               virtine_value *result);
/* Allows the hypercall `number`, which has this signature, and answers it by `handler`. */
VIRTINE_API int virtine_policy_add_hypercall(virtine_policy *policy, uint32_t number,
                                             const char *signature, virtine_handler handler,
                                             void *context, virtine_error *error);

/* ---- Functions ---- */

typedef struct virtine_function virtine_function;

typedef struct virtine_function_options {
  size_t size;
  uint64_t max_machines; /* and so of concurrent calls; more wait. Default 64 */
  uint64_t warm;         /* how many of them are made ahead; default 0 */
} virtine_function_options;
#define VIRTINE_FUNCTION_OPTIONS_INIT \
  { sizeof(virtine_function_options), 0, 0 }

/* Makes the function `name` of an image callable, on machines of its own. `policy` and `options`
 * may be NULL. Opens nothing yet: that there is no KVM is told by the first call. */
VIRTINE_API int virtine_function_create(const virtine_image *image, const char *name,
                                        const virtine_policy *policy,
                                        const virtine_function_options *options,
                                        virtine_function **function, virtine_error *error);
/* Waits for calls under way, so no handler of one may free its function. */
VIRTINE_API void virtine_function_free(virtine_function *function);

/* The limits of a call. */
typedef struct virtine_call_options {
  size_t size;
  uint64_t timeout;    /* nanoseconds; default 10 s */
  uint64_t hypercalls; /* and system calls; default 1,000,000 */
  /* For programs whose signal handlers set a flag: returning true ends the call with
   * VIRTINE_CANCELLED. Asked on the calling thread, before the guest is entered and when a signal
   * has interrupted it. May call nothing of the library. NULL is never asked. */
  bool (*stop_if)(void);
} virtine_call_options;
#define VIRTINE_CALL_OPTIONS_INIT \
  { sizeof(virtine_call_options), 0, 0, NULL }

/* Makes the call that runs on this thread ask its stop_if again. Call it in a signal handler, after
 * setting what stop_if looks at: a signal just before the guest is entered goes unnoticed else.
 * Async-signal-safe. */
VIRTINE_API void virtine_ask_stop_if(void);
/* Tells the library that the process is about to end, so that nothing waits for calls under way.
 * Call it before exit() in a handler, or while other threads make calls. Async-signal-safe. */
VIRTINE_API void virtine_abandon_calls(void);

/* Calls a function with `count` arguments, each checked against its signature. Spans that it writes
 * to have to be VIRTINE_BUFFERs, which are written if the call succeeds. `result`, if it is not
 * NULL, is to be given to virtine_value_clear() in the end; what it was before is not freed. */
VIRTINE_API int virtine_call(const virtine_function *function, const virtine_value *arguments,
                             size_t count, virtine_value *result,
                             const virtine_call_options *options, virtine_error *error);

/* ---- Sessions: calls of one function that share a machine, and its state ---- */

typedef struct virtine_session virtine_session;

/* Opens a session of a function, whose handle need not outlive it. `opening` limits this as it
 * would a call; NULL has its defaults. If it fails, each call returns the error. One call at a time:
 * others are VIRTINE_SESSION_IN_USE. A call that fails ends the session, and all later calls return
 * the same error. */
VIRTINE_API int virtine_session_create(const virtine_function *function,
                                       const virtine_call_options *opening,
                                       virtine_session **session, virtine_error *error);
/* Closes it. Not while a call is under way. */
VIRTINE_API void virtine_session_free(virtine_session *session);
/* As virtine_call(). */
VIRTINE_API int virtine_session_call(virtine_session *session, const virtine_value *arguments,
                                     size_t count, virtine_value *result,
                                     const virtine_call_options *options, virtine_error *error);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
