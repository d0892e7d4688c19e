// What objects compiled against glibc's headers call and musl does not have: the checked forms of
// _FORTIFY_SOURCE, other names of what musl has too, and what no guest can have but a library may
// ask for in parts that nobody uses. So libraries that a distribution ships for its own programs
// link into guests.
// Must not know the libraries. All are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

#include <cerrno>
#include <climits>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/select.h>
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
WEAK ssize_t __pread_chk(int file, void* to, size_t size, off_t at, size_t room) {
  check(size <= room);
  return pread(file, to, size, at);
}
WEAK ssize_t __pread64_chk(int file, void* to, size_t size, off_t at, size_t room) {
  check(size <= room);
  return pread(file, to, size, at);
}
WEAK ssize_t __readlink_chk(const char* path, char* to, size_t size, size_t room) {
  check(size <= room);
  return readlink(path, to, size);
}
WEAK ssize_t __readlinkat_chk(int at, const char* path, char* to, size_t size, size_t room) {
  check(size <= room);
  return readlinkat(at, path, to, size);
}
WEAK char* __getcwd_chk(char* to, size_t size, size_t room) {
  check(size <= room);
  return getcwd(to, size);
}
WEAK char* __realpath_chk(const char* path, char* to, size_t room) {
  check(room >= PATH_MAX);
  return realpath(path, to);
}
WEAK int __poll_chk(pollfd* files, nfds_t count, int timeout, size_t room) {
  check(count <= room / sizeof *files);
  return poll(files, count, timeout);
}
WEAK size_t __strlcpy_chk(char* to, const char* from, size_t size, size_t room) {
  check(size <= room);
  return strlcpy(to, from, size);
}
WEAK size_t __strlcat_chk(char* to, const char* from, size_t size, size_t room) {
  check(size <= room);
  return strlcat(to, from, size);
}
WEAK size_t __mbstowcs_chk(wchar_t* to, const char* from, size_t size, size_t room) {
  check(size <= room);
  return mbstowcs(to, from, size);
}
WEAK size_t __wcstombs_chk(char* to, const wchar_t* from, size_t size, size_t room) {
  check(size <= room);
  return wcstombs(to, from, size);
}
WEAK wchar_t* __wmemcpy_chk(wchar_t* to, const wchar_t* from, size_t size, size_t room) {
  check(size <= room);
  return wmemcpy(to, from, size);
}
WEAK wchar_t* __wmemset_chk(wchar_t* to, wchar_t value, size_t size, size_t room) {
  check(size <= room);
  return wmemset(to, value, size);
}
/// Which word of an fd_set has a descriptor.
WEAK long __fdelt_chk(long file) {
  check(file >= 0 && file < FD_SETSIZE);
  return file / static_cast<long>(CHAR_BIT * sizeof(long));
}

// What opens without a mode must not create.
WEAK int __open_2(const char* path, int flags) {
  check((flags & O_CREAT) == 0);
  return open(path, flags);
}
WEAK int __openat_2(int at, const char* path, int flags) {
  check((flags & O_CREAT) == 0);
  return openat(at, path, flags);
}
[[gnu::weak, gnu::alias("__open_2")]] int __open64_2(const char*, int);
[[gnu::weak, gnu::alias("__openat_2")]] int __openat64_2(int, const char*, int);

// Other names.

WEAK [[noreturn]] void __longjmp_chk(jmp_buf to, int value) {
  longjmp(to, value);
}
WEAK int fcntl64(int file, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);  // As wide as any.
  va_end(list);
  return fcntl(file, command, argument);
}
WEAK size_t __mbrlen(const char* text, size_t size, mbstate_t* state) {
  return mbrlen(text, size, state);
}
WEAK long __sysconf(int name) {
  return sysconf(name);
}
WEAK char* canonicalize_file_name(const char* path) {
  return realpath(path, nullptr);
}

// Those of numbers that C23 has; 0b is read as before.
#define NUMBER(type, name, text)                                                    \
  WEAK type __isoc23_##name(const text* from, text** end, int base) {               \
    return name(from, end, base);                                                   \
  }                                                                                 \
  WEAK type name##_l(const text* from, text** end, int base, locale_t) {            \
    return name(from, end, base);                                                   \
  }                                                                                 \
  WEAK type __isoc23_##name##_l(const text* from, text** end, int base, locale_t) { \
    return name(from, end, base);                                                   \
  }
NUMBER(long, strtol, char)
NUMBER(unsigned long, strtoul, char)
NUMBER(long long, strtoll, char)
NUMBER(unsigned long long, strtoull, char)
NUMBER(intmax_t, strtoimax, char)
NUMBER(uintmax_t, strtoumax, char)
NUMBER(long, wcstol, wchar_t)
NUMBER(unsigned long, wcstoul, wchar_t)
NUMBER(long long, wcstoll, wchar_t)
NUMBER(unsigned long long, wcstoull, wchar_t)

WEAK int __isoc23_vscanf(const char* format, va_list list) {
  return vscanf(format, list);
}
WEAK int __isoc23_vsscanf(const char* from, const char* format, va_list list) {
  return vsscanf(from, format, list);
}
WEAK int __isoc23_vfscanf(FILE* from, const char* format, va_list list) {
  return vfscanf(from, format, list);
}
WEAK int __isoc23_scanf(const char* format, ...) {
  WITH_LIST(vscanf(format, list));
}
WEAK int __isoc23_sscanf(const char* from, const char* format, ...) {
  WITH_LIST(vsscanf(from, format, list));
}
WEAK int __isoc23_fscanf(FILE* from, const char* format, ...) {
  WITH_LIST(vfscanf(from, format, list));
}

// What a guest cannot have. These fail as their documents say, or do nothing where that is as good.

static int without_it() {
  errno = ENOSYS;
  return -1;
}

WEAK int getcontext(void*) {
  return without_it();
}
WEAK int setcontext(const void*) {
  return without_it();
}
WEAK int swapcontext(void*, const void*) {
  return without_it();
}
WEAK void makecontext(void*, void (*)(), int, ...) {}
WEAK int close_range(unsigned, unsigned, int) {
  return without_it();
}
WEAK int statx(int, const char*, int, unsigned, void*) {
  return without_it();
}
WEAK int __register_atfork(void (*)(), void (*)(), void (*)(), void*) {
  return 0;  // Nothing ever forks.
}
WEAK int pthread_rwlockattr_setkind_np(void*, int) {
  return 0;  // Who goes first among threads is no matter where there is one.
}
WEAK int obstack_vprintf(void*, const char*, va_list) {
  return -1;
}
WEAK [[noreturn]] void _obstack_newchunk(void*, int) {
  using virtine::x86::abort_reason;
  virtine::x86::end_call<abort_reason::aborted>(__builtin_return_address(0));
}

// What is told to the system's log is lost, as it is where no such service runs.
WEAK void syslog(int, const char*, ...) {}
WEAK void vsyslog(int, const char*, va_list) {}
WEAK void __syslog_chk(int, int, const char*, ...) {}
WEAK void __vsyslog_chk(int, int, const char*, va_list) {}
WEAK void openlog(const char*, int, int) {}
WEAK void closelog() {}

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
