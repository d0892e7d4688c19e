// The C interface: what every misuse is told, and, where there is KVM, calls.
// usage: interface plugin.virtine {misuse|calls|sizes}
// SPDX-License-Identifier: MIT
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <virtine/c/virtine.h>

static int failures = 0;

#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) {                                           \
      ++failures;                                                 \
      printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
      if (error.text[0] != '\0') printf("  %s\n", error.text);    \
    }                                                             \
  } while (0)

static virtine_error error = VIRTINE_ERROR_INIT;

static int says(const char *text) { return strstr(error.text, text) != NULL; }

static virtine_function *made(const virtine_image *image, const char *name,
                              const virtine_policy *policy) {
  virtine_function *out = NULL;
  CHECK(virtine_function_create(image, name, policy, NULL, &out, &error) == VIRTINE_OK);
  return out;
}

static int idle(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  (void)context, (void)arguments, (void)count, (void)result;
  return 0;
}
static void ignore(void *context, const char *text, size_t size) {
  (void)context, (void)text, (void)size;
}

static void check_loading(const char *path) {
  virtine_image *image = NULL;
  virtine_load_options options = VIRTINE_LOAD_OPTIONS_INIT;
  virtine_export found = VIRTINE_EXPORT_INIT;
  static const char text[] = "this is no image";

  CHECK(virtine_load(NULL, NULL, &image, &error) == VIRTINE_MISUSE);
  CHECK(says("misuse: virtine_load() is given no path"));
  CHECK(error.code == VIRTINE_MISUSE && image == NULL);
  CHECK(virtine_load(path, NULL, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_load("/nowhere", NULL, &image, NULL) == VIRTINE_OS_ERROR);
  CHECK(virtine_load("/nowhere", NULL, &image, &error) == VIRTINE_OS_ERROR);
  CHECK(error.os_error != 0 && says("/nowhere"));
  CHECK(virtine_load_bytes(NULL, 3, NULL, &image, &error) == VIRTINE_MISUSE);
  CHECK(virtine_load_bytes(text, sizeof text, NULL, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_load_bytes(text, sizeof text, NULL, &image, &error) == VIRTINE_IMAGE_REFUSED);
  CHECK(virtine_load_bytes(text, 0, NULL, &image, &error) == VIRTINE_IMAGE_REFUSED);
  options.size = 8;
  CHECK(virtine_load(path, &options, &image, &error) == VIRTINE_MISUSE);
  CHECK(says("the size of the options"));
  options.size = sizeof options + 8;
  CHECK(virtine_load(path, &options, &image, &error) == VIRTINE_MISUSE);
  options.size = sizeof options;
  options.max_memory = 4096;
  CHECK(virtine_load(path, &options, &image, &error) == VIRTINE_IMAGE_REFUSED);
  CHECK(says("max_memory allows 4096"));
  CHECK(image == NULL);

  {
    virtine_error small = VIRTINE_ERROR_INIT;
    small.size = 16;
    small.code = 77;
    CHECK(virtine_load(path, NULL, &image, &small) == VIRTINE_MISUSE);
    CHECK(small.code == 77 && image == NULL);
    small.size = 0;
    CHECK(virtine_call(NULL, NULL, 0, NULL, NULL, &small) == VIRTINE_MISUSE);
  }

  CHECK(virtine_load(path, NULL, &image, &error) == VIRTINE_OK);
  CHECK(error.code == VIRTINE_OK && error.text[0] == '\0');
  CHECK(virtine_export_count(NULL) == 0);
  CHECK(virtine_export_count(image) > 10);
  CHECK(virtine_export_at(image, 0, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_export_at(NULL, 0, &found, &error) == VIRTINE_MISUSE);
  CHECK(virtine_export_at(image, virtine_export_count(image), &found, &error) == VIRTINE_MISUSE);
  CHECK(virtine_export_at(image, (size_t)-1, &found, &error) == VIRTINE_MISUSE);
  CHECK(virtine_export_at(image, 0, &found, &error) == VIRTINE_OK);
  CHECK(strcmp(found.name, "asks") == 0 && strcmp(found.signature, "i4(i4)") == 0);
  found.size = 1;
  CHECK(virtine_export_at(image, 0, &found, &error) == VIRTINE_MISUSE);
  virtine_image_free(image);
  virtine_image_free(NULL);
}

static void check_texts(void) {
  char text[8] = "unseen";
  CHECK(virtine_signature_as_cpp("i4(i4)", NULL, 0) == 8);
  CHECK(virtine_signature_as_cpp("i4(i4)", text, 0) == 8 && strcmp(text, "unseen") == 0);
  CHECK(virtine_signature_as_cpp("i4(i4)", text, sizeof text) == 8 && strcmp(text, "int(int") == 0);
  CHECK(virtine_signature_as_cpp(NULL, text, sizeof text) == 0 && text[0] == '\0');
  CHECK(strcmp(virtine_code_name(VIRTINE_GUEST_FAULT), "guest_fault") == 0);
  CHECK(strcmp(virtine_code_name(VIRTINE_MISUSE), "misuse") == 0);
  CHECK(strcmp(virtine_code_name(VIRTINE_OK), "ok") == 0);
  CHECK(strcmp(virtine_code_name(-1), "unknown") == 0);
  CHECK(virtine_version() >= 100);
}

static void check_policies(void) {
  virtine_policy *policy = NULL;
  const char *strings[] = {"A=1", NULL};
  CHECK(virtine_policy_create(NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_create(&policy, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_clock(NULL, &error) == VIRTINE_MISUSE && says("this is no policy"));
  CHECK(virtine_policy_add_clock(policy, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_clock(policy, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_entropy(policy, NULL) == VIRTINE_OK);
  CHECK(virtine_policy_add_entropy(policy, NULL) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_others_fail(policy, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_output(policy, NULL, NULL, 9, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_add_output(policy, ignore, NULL, 9, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_directory(policy, NULL, "/a", 0, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_add_directory(policy, "/nowhere", "/a", 0, &error) == VIRTINE_OS_ERROR);
  CHECK(virtine_policy_add_directory(policy, "/tmp", "a", 0, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_directory(policy, "/tmp", "/a", 0, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_directory(policy, "/tmp", "/a", 9, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_directory(policy, "/tmp", "/b", 9, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_descriptor(policy, 64, 0, 1, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_descriptor(policy, 5, 0, 0, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_descriptor(policy, 5, 0, 256 + 1, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_descriptor(policy, 5, 999, 1, &error) == VIRTINE_OS_ERROR);
  CHECK(virtine_policy_add_environment(policy, NULL, 0, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_add_environment(policy, strings, 2, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_add_environment(policy, strings, 1, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_hypercall(policy, 7, NULL, idle, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_add_hypercall(policy, 7, "v()", NULL, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_policy_add_hypercall(policy, 7, "what", idle, NULL, &error) == VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_hypercall(policy, 0xffff0000u, "v()", idle, NULL, &error) ==
        VIRTINE_BAD_GRANT);
  CHECK(virtine_policy_add_hypercall(policy, 7, "v()", idle, NULL, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_hypercall(policy, 7, "v()", idle, NULL, &error) == VIRTINE_BAD_GRANT);
  virtine_policy_free(policy);
  virtine_policy_free(NULL);
}

static void check_functions(const char *path) {
  virtine_image *image = NULL;
  virtine_policy *policy = NULL;
  virtine_function *function = NULL, *square, *scale;
  virtine_value wide[60][2];
  int i;
  virtine_function_options options = VIRTINE_FUNCTION_OPTIONS_INIT;
  virtine_call_options limits = VIRTINE_CALL_OPTIONS_INIT;
  virtine_value values[2] = {VIRTINE_VALUE_INIT, VIRTINE_VALUE_INIT}, result = VIRTINE_VALUE_INIT;
  virtine_value deep = VIRTINE_VALUE_INIT;
  double numbers[2] = {1, 2};

  CHECK(virtine_load(path, NULL, &image, &error) == VIRTINE_OK);
  CHECK(virtine_policy_create(&policy, &error) == VIRTINE_OK);
  CHECK(virtine_function_create(NULL, "square", NULL, NULL, &function, &error) == VIRTINE_MISUSE);
  CHECK(virtine_function_create(image, NULL, NULL, NULL, &function, &error) == VIRTINE_MISUSE);
  CHECK(virtine_function_create(image, "square", NULL, NULL, NULL, &error) == VIRTINE_MISUSE);
  // Handles of other kinds.
  CHECK(virtine_function_create((const virtine_image *)(const void *)policy, "square", NULL, NULL,
                                &function, &error) == VIRTINE_MISUSE);
  CHECK(virtine_function_create(image, "square", (const virtine_policy *)(const void *)image, NULL,
                                &function, &error) == VIRTINE_MISUSE);
  options.size = 1;
  CHECK(virtine_function_create(image, "square", NULL, &options, &function, &error) ==
        VIRTINE_MISUSE);
  CHECK(virtine_function_create(image, "cube", NULL, NULL, &function, &error) ==
        VIRTINE_IMAGE_REFUSED);
  CHECK(says("has no function cube; it has asks, both"));
  CHECK(virtine_function_create(image, "wide", NULL, NULL, &function, &error) ==
        VIRTINE_IMAGE_REFUSED);
  CHECK(virtine_function_create(image, "asks", policy, NULL, &function, &error) ==
        VIRTINE_IMAGE_REFUSED);
  CHECK(says("can make hypercall 7"));
  CHECK(function == NULL);

  square = made(image, "square", NULL);
  scale = made(image, "scale", policy);
  // They keep what they were made of.
  virtine_image_free(image);
  virtine_policy_free(policy);

  CHECK(virtine_call(NULL, NULL, 0, NULL, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_call(square, NULL, 1, NULL, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_call(square, NULL, 0, NULL, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  CHECK(says("square takes 1 argument, and 0 are given"));
  CHECK(virtine_call(square, values, (size_t)-1, NULL, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  limits.size = 3;
  CHECK(virtine_call(square, values, 1, &result, &limits, &error) == VIRTINE_MISUSE);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  CHECK(says("argument 1 of square: nothing is not int"));
  values[0].kind = 99;
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  CHECK(says("argument 1 of square: this is no virtine_value"));
  values[0] = virtine_of_bool(1);
  values[0].as.boolean = 2;
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_uint(UINT64_MAX);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_int(INT64_MIN);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_double(3);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_text("3", 1);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_text(NULL, 1);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_bytes(NULL, 1);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_buffer(NULL, 1);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_list(NULL, 1);
  CHECK(virtine_call(square, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  // A list that has itself for an element, and lists that each have the next one twice.
  deep = virtine_of_list(&deep, 1);
  CHECK(virtine_call(square, &deep, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  wide[0][0] = wide[0][1] = virtine_of_int(3);
  for (i = 1; i < 60; ++i) wide[i][0] = wide[i][1] = virtine_of_list(wide[i - 1], 2);
  CHECK(virtine_call(square, wide[59], 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);

  values[1] = virtine_of_int(2);
  values[0] = virtine_of_bytes(numbers, sizeof numbers);
  CHECK(virtine_call(scale, values, 2, NULL, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  CHECK(says("argument 1 of scale: the function writes to this span; give it a VIRTINE_BUFFER"));
  values[0] = virtine_of_buffer(numbers, 9);
  CHECK(virtine_call(scale, values, 2, NULL, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  values[0] = virtine_of_buffer(numbers, SIZE_MAX / 8 * 8);
  CHECK(virtine_call(scale, values, 2, NULL, NULL, &error) != VIRTINE_OK);
  CHECK(result.kind == VIRTINE_NONE);
  virtine_value_clear(&result);
  virtine_value_clear(NULL);
  virtine_value_clear(&values[0]);
  CHECK(values[0].kind == VIRTINE_NONE && numbers[0] == 1);
  virtine_function_free(square);
  virtine_function_free(scale);
  virtine_function_free(NULL);
}

static volatile int stops = 0;
static bool has_to_stop(void) { return stops != 0; }

static void check_sessions(const virtine_image *image) {
  virtine_function *function = made(image, "divide", NULL);
  virtine_session *session = NULL;
  virtine_call_options limits = VIRTINE_CALL_OPTIONS_INIT;
  virtine_value values[2], result = VIRTINE_VALUE_INIT;
  int i;

  CHECK(virtine_session_create(NULL, NULL, &session, &error) == VIRTINE_MISUSE);
  CHECK(virtine_session_create(function, NULL, NULL, &error) == VIRTINE_MISUSE);
  CHECK(virtine_session_call(NULL, values, 2, NULL, NULL, &error) == VIRTINE_MISUSE);
  limits.size = 1;
  CHECK(virtine_session_create(function, &limits, &session, &error) == VIRTINE_MISUSE);
  limits.size = sizeof limits;
  CHECK(virtine_session_create(function, &limits, &session, &error) == VIRTINE_OK);
  virtine_function_free(function);
  for (i = 1; i < 100; ++i) {
    values[0] = virtine_of_int(12 * i);
    values[1] = virtine_of_int(i);
    CHECK(virtine_session_call(session, values, 2, &result, NULL, &error) == VIRTINE_OK);
    CHECK(result.as.natural == 12);
  }
  CHECK(virtine_session_call(session, values, 1, NULL, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  CHECK(virtine_session_call(session, values, 2, NULL, NULL, &error) == VIRTINE_OK);
  limits.stop_if = has_to_stop;
  CHECK(virtine_session_call(session, values, 2, NULL, &limits, &error) == VIRTINE_OK);
  values[1] = virtine_of_int(0);
  CHECK(virtine_session_call(session, values, 2, NULL, NULL, &error) == VIRTINE_GUEST_FAULT);
  CHECK(virtine_session_call(session, values, 2, NULL, NULL, &error) == VIRTINE_GUEST_FAULT);
  virtine_session_free(session);
  virtine_session_free(NULL);

  // A flag that is set ends calls.
  function = made(image, "square", NULL);
  stops = 1;
  virtine_ask_stop_if();
  CHECK(virtine_call(function, values, 1, &result, &limits, &error) == VIRTINE_CANCELLED);
  stops = 0;
  CHECK(virtine_call(function, values, 1, &result, &limits, &error) == VIRTINE_OK);
  virtine_function_free(function);
}

struct asked {
  int times;
  int reply;
  virtine_value result;
};
static int answer(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  struct asked *const asked = context;
  ++asked->times;
  CHECK(count == 3 && arguments[0].kind == VIRTINE_INT + (arguments[0].as.integer >= 0));
  CHECK(arguments[1].kind == VIRTINE_TEXT && arguments[1].as.bytes.size == 8);
  CHECK(memcmp(arguments[1].as.bytes.data, "question", 8) == 0);
  CHECK(arguments[2].kind == VIRTINE_BUFFER && arguments[2].as.buffer.size == 4);
  ((uint16_t *)arguments[2].as.buffer.data)[1] = 100;
  *result = asked->result;
  return asked->reply;
}

struct printed {
  char text[32];
  size_t size;
};
static void keep(void *context, const char *text, size_t size) {
  struct printed *const printed = context;
  if (size > sizeof printed->text - printed->size) size = sizeof printed->text - printed->size;
  memcpy(printed->text + printed->size, text, size);
  printed->size += size;
}

static void check_calls(const char *path) {
  virtine_image *image = NULL;
  virtine_policy *policy = NULL;
  virtine_function *function;
  virtine_call_options limits = VIRTINE_CALL_OPTIONS_INIT;
  virtine_value values[2] = {VIRTINE_VALUE_INIT, VIRTINE_VALUE_INIT}, result = VIRTINE_VALUE_INIT;
  double numbers[2] = {1, 2.5};
  int32_t point[2] = {3, 4};
  char text[] = "abc";
  struct asked asked = {0, 0, VIRTINE_VALUE_INIT};
  struct printed printed = {"", 0};

  CHECK(virtine_load(path, NULL, &image, &error) == VIRTINE_OK);
  function = made(image, "square", NULL);
  values[0] = virtine_of_int(-7);
  if (virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_NO_KVM) {
    puts(error.text);
    exit(77);
  }
  CHECK(error.code == VIRTINE_OK);
  CHECK(result.kind == VIRTINE_UINT && result.as.natural == 49);
  CHECK(virtine_call(function, values, 1, NULL, NULL, NULL) == VIRTINE_OK);
  virtine_function_free(function);

  function = made(image, "total", NULL);
  values[0] = virtine_of_bytes(numbers, sizeof numbers);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  CHECK(result.kind == VIRTINE_DOUBLE && fabs(result.as.floating - 3.5) < 1e-12);
  values[0] = virtine_of_bytes(NULL, 0);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  {
    virtine_value items[2];
    items[0] = virtine_of_int(1);
    items[1] = virtine_of_double(0.5);
    values[0] = virtine_of_list(items, 2);
    CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
    CHECK(fabs(result.as.floating - 1.5) < 1e-12);
    items[1] = virtine_of_text("x", 1);
    CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
    CHECK(says("argument 1 of total: element 1: a span of signed char is not double"));
  }
  virtine_function_free(function);

  function = made(image, "scale", NULL);
  values[0] = virtine_of_buffer(numbers, sizeof numbers);
  values[1] = virtine_of_double(2);
  CHECK(virtine_call(function, values, 2, NULL, NULL, &error) == VIRTINE_OK);
  CHECK(numbers[0] == 2 && numbers[1] == 5);
  virtine_function_free(function);

  function = made(image, "shout", NULL);
  values[0] = virtine_of_buffer(text, 3);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  CHECK(result.kind == VIRTINE_BOOL && result.as.boolean == 1 && strcmp(text, "ABC") == 0);
  virtine_function_free(function);

  function = made(image, "greet", NULL);
  values[0] = virtine_of_text("you", 3);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  CHECK(result.kind == VIRTINE_BYTES && result.owned && result.as.bytes.size == 7);
  CHECK(memcmp(result.as.bytes.data, "hi, you", 7) == 0);
  virtine_value_clear(&result);
  CHECK(result.kind == VIRTINE_NONE && !result.owned);
  virtine_value_clear(&result);
  virtine_function_free(function);

  function = made(image, "mirror", NULL);
  values[0] = virtine_of_bytes(point, sizeof point);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  CHECK(((const int32_t *)result.as.bytes.data)[0] == 4);
  virtine_value_clear(&result);
  virtine_function_free(function);

  function = made(image, "both", NULL);
  {
    virtine_value items[2];
    items[0] = virtine_of_int(1);
    items[1] = virtine_of_double(2.5);
    values[0] = virtine_of_list(items, 2);
    CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  }
  CHECK(result.kind == VIRTINE_LIST && result.as.list.count == 2);
  CHECK(result.as.list.items[0].as.natural == 1 && result.as.list.items[1].as.floating == 2.5);
  virtine_value_clear(&result);
  virtine_function_free(function);

  function = made(image, "divide", NULL);
  values[0] = virtine_of_int(1);
  values[1] = virtine_of_int(0);
  CHECK(virtine_call(function, values, 2, &result, NULL, &error) == VIRTINE_GUEST_FAULT);
  CHECK(says("divide error") && error.fault_instruction != 0);
  virtine_function_free(function);

  function = made(image, "spin", NULL);
  limits.timeout = 50000000;
  CHECK(virtine_call(function, NULL, 0, &result, &limits, &error) == VIRTINE_TIMED_OUT);
  virtine_function_free(function);

  function = made(image, "hello", NULL);
  CHECK(virtine_call(function, NULL, 0, &result, NULL, &error) == VIRTINE_SYSTEM_CALL_DENIED);
  virtine_function_free(function);

  CHECK(virtine_policy_create(&policy, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_output(policy, keep, &printed, 1000, &error) == VIRTINE_OK);
  CHECK(virtine_policy_add_hypercall(policy, 7, "i4(i4,s,[=u2])", answer, &asked, &error) ==
        VIRTINE_OK);
  function = made(image, "hello", policy);
  CHECK(virtine_call(function, NULL, 0, &result, NULL, &error) == VIRTINE_OK);
  CHECK(printed.size == 6 && memcmp(printed.text, "hello\n", 6) == 0);
  virtine_function_free(function);

  function = made(image, "asks", policy);
  virtine_policy_free(policy);
  values[0] = virtine_of_int(-3);
  asked.result = virtine_of_int(-50);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_OK);
  CHECK(result.as.natural == 50 && asked.times == 1);
  asked.reply = 1;
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_HYPERCALL_REJECTED);
  asked.reply = 0;
  asked.result = virtine_of_text("x", 1);
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_BAD_ARGUMENT);
  CHECK(says("the result that the handler of hypercall 7 gave"));
  asked.result.kind = 99;
  CHECK(virtine_call(function, values, 1, &result, NULL, &error) == VIRTINE_HYPERCALL_REJECTED);
  limits.timeout = 0;
  limits.hypercalls = 1;
  asked.result = virtine_of_int(5);
  CHECK(virtine_call(function, values, 1, &result, &limits, &error) == VIRTINE_OK);
  virtine_function_free(function);
  check_sessions(image);
  virtine_image_free(image);
}

#define SIZE(type) printf(#type " %zu\n", sizeof(type))

int main(int argc, char **argv) {
  const char *const what = argc == 3 ? argv[2] : "";
  if (strcmp(what, "misuse") == 0) {
    check_loading(argv[1]);
    check_texts();
    check_policies();
    check_functions(argv[1]);
  } else if (strcmp(what, "calls") == 0) {
    check_calls(argv[1]);
  } else if (strcmp(what, "sizes") == 0) {
    SIZE(virtine_error);
    SIZE(virtine_value);
    SIZE(virtine_load_options);
    SIZE(virtine_export);
    SIZE(virtine_function_options);
    SIZE(virtine_call_options);
    return 0;
  } else {
    return 2;
  }
  printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
