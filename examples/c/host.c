// A host in C99: it loads an image file, grants what the guest may ask for, and calls.
// Run: c_host plugin.virtine, which is made by virtine-cc tests/run/plugin.cpp -o plugin.virtine
// SPDX-License-Identifier: MIT
#include <stdio.h>

#include <virtine/c/virtine.h>

// Answers what the guest asks: int ask(int, std::string_view, std::span<std::uint16_t>).
static int answer(void *context, virtine_value *arguments, size_t count, virtine_value *result) {
  uint16_t *const room = arguments[2].as.buffer.data;
  int *const asked = context;
  (void)count;
  ++*asked;
  room[0] = 20;
  *result = virtine_of_int(arguments[0].as.integer * 2);
  return 0;  // Anything else would end the call.
}

int main(int argc, char **argv) {
  virtine_image *image = NULL;
  virtine_policy *policy = NULL;
  virtine_function *total = NULL, *scale = NULL, *divide = NULL, *asks = NULL;
  virtine_error error = VIRTINE_ERROR_INIT;
  virtine_value result = VIRTINE_VALUE_INIT;
  int status = 1, asked = 0;
  double numbers[] = {1, 2.5};
  virtine_value arguments[2];

  if (argc < 2) return fprintf(stderr, "usage: c_host plugin.virtine\n"), 2;
  if (virtine_load(argv[1], NULL, &image, &error) ||
      virtine_function_create(image, "total", NULL, NULL, &total, &error) ||
      virtine_function_create(image, "scale", NULL, NULL, &scale, &error) ||
      virtine_function_create(image, "divide", NULL, NULL, &divide, &error)) {
    goto done;
  }

  // double total(std::span<const double>): the elements as they lie in memory.
  arguments[0] = virtine_of_bytes(numbers, sizeof numbers);
  if (virtine_call(total, arguments, 1, &result, NULL, &error)) goto done;
  printf("total: %g\n", result.as.floating);

  // void scale(std::span<double>, float): what it writes comes back.
  arguments[0] = virtine_of_buffer(numbers, sizeof numbers);
  arguments[1] = virtine_of_int(2);
  if (virtine_call(scale, arguments, 2, NULL, NULL, &error)) goto done;
  printf("scaled: %g %g\n", numbers[0], numbers[1]);

  // A fault of the guest ends its call, and nothing else.
  arguments[0] = virtine_of_int(1);
  arguments[1] = virtine_of_int(0);
  if (virtine_call(divide, arguments, 2, &result, NULL, &error) != VIRTINE_GUEST_FAULT) goto done;
  printf("%s\n", error.text);

  // A guest asks for what its policy allows.
  if (virtine_policy_create(&policy, &error) ||
      virtine_policy_add_hypercall(policy, 7, "i4(i4,s,[=u2])", answer, &asked, &error) ||
      virtine_function_create(image, "asks", policy, NULL, &asks, &error) ||
      virtine_call(asks, arguments, 1, &result, NULL, &error)) {
    goto done;
  }
  printf("asked %d time, got %d\n", asked, (int)result.as.integer);
  status = 0;

done:
  if (status != 0) fprintf(stderr, "c_host: %s\n", error.text);
  virtine_value_clear(&result);
  virtine_function_free(total);
  virtine_function_free(scale);
  virtine_function_free(divide);
  virtine_function_free(asks);
  virtine_policy_free(policy);
  virtine_image_free(image);
  return status == 1 && error.code == VIRTINE_NO_KVM ? 77 : status;
}

// Output:
// total: 3.5
// scaled: 2 5
// guest_fault: divide error at ... in ...divide...
// asked 1 time, got 22
