// What objects compiled against glibc's headers call and musl does not have: the checked forms of
// _FORTIFY_SOURCE, and arc4random. So libraries that a distribution ships for its own programs link
// into guests.
// Must not know the libraries. All are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

#include <climits>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

#include <virtine/abi/abort_reason.hpp>

#define WEAK [[gnu::weak]]

// The place to be reported is where the function that checks was called.
[[gnu::always_inline]] static inline void check(bool fits) {
  using virtine::x86::abort_reason;
  if (__builtin_expect(fits, 1) != 0) return;
  virtine::x86::end_call<abort_reason::memory_corrupted>(__builtin_return_address(0));
}

extern "C" {

// `room` is what the compiler knows of the object behind `to`, SIZE_MAX if nothing.

WEAK void* __memcpy_chk(void* to, const void* from, size_t size, size_t room) {
  check(size <= room);
  return memcpy(to, from, size);
}
WEAK void* __memmove_chk(void* to, const void* from, size_t size, size_t room) {
  check(size <= room);
  return memmove(to, from, size);
}
WEAK void* __mempcpy_chk(void* to, const void* from, size_t size, size_t room) {
  check(size <= room);
  return mempcpy(to, from, size);
}
WEAK void* __memset_chk(void* to, int value, size_t size, size_t room) {
  check(size <= room);
  return memset(to, value, size);
}
WEAK void __explicit_bzero_chk(void* to, size_t size, size_t room) {
  check(size <= room);
  explicit_bzero(to, size);
}
WEAK char* __strcpy_chk(char* to, const char* from, size_t room) {
  check(strlen(from) < room);
  return strcpy(to, from);
}
WEAK char* __stpcpy_chk(char* to, const char* from, size_t room) {
  check(strlen(from) < room);
  return stpcpy(to, from);
}
WEAK char* __strncpy_chk(char* to, const char* from, size_t size, size_t room) {
  check(size <= room);
  return strncpy(to, from, size);
}
WEAK char* __stpncpy_chk(char* to, const char* from, size_t size, size_t room) {
  check(size <= room);
  return stpncpy(to, from, size);
}
WEAK char* __strcat_chk(char* to, const char* from, size_t room) {
  const size_t length = strnlen(to, room);
  check(length < room && strlen(from) < room - length);
  return strcat(to, from);
}
WEAK char* __strncat_chk(char* to, const char* from, size_t size, size_t room) {
  const size_t length = strnlen(to, room);
  check(length < room && strnlen(from, size) < room - length);
  return strncat(to, from, size);
}

// The unnamed number asks glibc to refuse %n in formats that can be written to; musl has no such
// check, and a guest that is led astray harms itself only.

[[gnu::always_inline]] static inline int print(char* to, size_t size, size_t room,
                                               const char* format, va_list list) {
  check(size <= room);
  return vsnprintf(to, size, format, list);
}
[[gnu::always_inline]] static inline int print(char* to, size_t room, const char* format,
                                               va_list list) {
  if (room > INT_MAX) return vsprintf(to, format, list);
  const int length = vsnprintf(to, room, format, list);
  check(length < 0 || static_cast<size_t>(length) < room);
  return length;
}

WEAK int __vsnprintf_chk(char* to, size_t size, int, size_t room, const char* format,
                         va_list list) {
  return print(to, size, room, format, list);
}
WEAK int __vsprintf_chk(char* to, int, size_t room, const char* format, va_list list) {
  return print(to, room, format, list);
}
WEAK int __vfprintf_chk(FILE* file, int, const char* format, va_list list) {
  return vfprintf(file, format, list);
}
WEAK int __vprintf_chk(int, const char* format, va_list list) {
  return vprintf(format, list);
}
WEAK int __vasprintf_chk(char** out, int, const char* format, va_list list) {
  return vasprintf(out, format, list);
}

#define WITH_LIST(call)    \
  va_list list;            \
  va_start(list, format);  \
  const int result = call; \
  va_end(list);            \
  return result

WEAK int __snprintf_chk(char* to, size_t size, int, size_t room, const char* format, ...) {
  WITH_LIST(print(to, size, room, format, list));
}
WEAK int __sprintf_chk(char* to, int, size_t room, const char* format, ...) {
  WITH_LIST(print(to, room, format, list));
}
WEAK int __fprintf_chk(FILE* file, int, const char* format, ...) {
  WITH_LIST(__vfprintf_chk(file, 1, format, list));
}
WEAK int __printf_chk(int, const char* format, ...) {
  WITH_LIST(__vprintf_chk(1, format, list));
}
WEAK int __asprintf_chk(char** out, int, const char* format, ...) {
  WITH_LIST(__vasprintf_chk(out, 1, format, list));
}

WEAK char* __fgets_chk(char* to, size_t room, int size, FILE* file) {
  check(size >= 0 && static_cast<size_t>(size) <= room);
  return fgets(to, size, file);
}
WEAK size_t __fread_chk(void* to, size_t room, size_t size, size_t count, FILE* file) {
  check(size == 0 || count <= room / size);
  return fread(to, size, count, file);
}
WEAK ssize_t __read_chk(int file, void* to, size_t size, size_t room) {
  check(size <= room);
  return read(file, to, size);
}

/// Ends the call if the host's policy gives no entropy: a program that asks in this way takes it
/// for granted that it gets some.
WEAK void arc4random_buf(void* to, size_t size) {
  for (char* at = static_cast<char*>(to); size != 0;) {
    const size_t piece = size < 256 ? size : 256;
    if (getentropy(at, piece) != 0) abort();
    at += piece;
    size -= piece;
  }
}
WEAK uint32_t arc4random(void) {
  uint32_t number;
  arc4random_buf(&number, sizeof number);
  return number;
}
WEAK uint32_t arc4random_uniform(uint32_t end) {
  if (end < 2) return 0;
  // Numbers below this would make the remainders below it more likely than others.
  const uint32_t least = -end % end;
  uint32_t number;
  do {
    number = arc4random();
  } while (number < least);
  return number % end;
}

}  // extern "C"
