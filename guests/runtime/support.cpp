// What the C++ language and its freestanding headers call when a program errs or ends. A guest has
// nobody to report to, so an error becomes an invalid opcode fault, which the host names.
// Must not know the guest. All are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

#define VIRTINE_FATAL [[noreturn, gnu::weak, gnu::cold]]

extern "C" {
VIRTINE_FATAL void abort() {
  __builtin_trap();
}
VIRTINE_FATAL void __cxa_pure_virtual() {
  __builtin_trap();
}

// Destructors of objects that live to the end have nothing to do: the machine is wiped.
[[gnu::weak]] int atexit(void (*)()) {
  return 0;
}
}

namespace std {
VIRTINE_FATAL void __throw_out_of_range_fmt(const char*, ...) {
  __builtin_trap();
}
VIRTINE_FATAL void __throw_out_of_range(const char*) {
  __builtin_trap();
}
VIRTINE_FATAL void __throw_length_error(const char*) {
  __builtin_trap();
}
VIRTINE_FATAL void __throw_logic_error(const char*) {
  __builtin_trap();
}
VIRTINE_FATAL void __throw_invalid_argument(const char*) {
  __builtin_trap();
}
VIRTINE_FATAL void __throw_bad_function_call() {
  __builtin_trap();
}
VIRTINE_FATAL void __glibcxx_assert_fail(const char*, int, const char*, const char*) noexcept {
  __builtin_trap();
}
}  // namespace std

// What <iostream> puts into every file that includes it, used or not.
extern "C" [[gnu::weak]] void virtine_no_streams() asm("_ZNSt8ios_base4InitC1Ev");
extern "C" void virtine_no_streams() {}
