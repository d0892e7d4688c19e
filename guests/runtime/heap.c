// The memory calls that a C library makes of its kernel, served from the image's heap without
// leaving the guest: runs of whole pages.
// Must not know malloc, which cuts them up.
// SPDX-License-Identifier: MIT

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096UL

// Of the linker script. The state of each page comes first, then the pages.
extern unsigned char virtine_heap_begin[];
extern unsigned char virtine_heap_end[];

enum { UNTOUCHED, FREE, TAKEN };  // Free pages may have something in them, untouched ones are zero.

static unsigned char* pages;  // Of the first page; null before the first call.
static size_t count;
static size_t next;  // Where the last search ended.

static void set_up(void) {
  count = (size_t)(virtine_heap_end - virtine_heap_begin) / (PAGE + 1);
  pages = (unsigned char*)(((uintptr_t)virtine_heap_begin + count + PAGE - 1) & ~(PAGE - 1));
  if (count != 0) count = (size_t)(virtine_heap_end - pages) / PAGE;
}

static unsigned char* states(void) {
  return virtine_heap_begin;
}

/// Returns the number of pages from `first` on that are not taken, at most `wanted`.
static size_t room_at(size_t first, size_t wanted) {
  size_t size = 0;
  while (size != wanted && first + size != count && states()[first + size] != TAKEN) ++size;
  return size;
}

/// Returns the first of `wanted` pages that are not taken, from `from` up to `end`; or `end`.
static size_t find(size_t wanted, size_t from, size_t end) {
  while (from < end) {
    const size_t size = room_at(from, wanted);
    if (size == wanted) return from;
    from += size + 1;
  }
  return end;
}

static void take(size_t first, size_t size) {
  for (size_t i = first; i != first + size; ++i) {
    if (states()[i] == FREE) memset(pages + i * PAGE, 0, PAGE);
    states()[i] = TAKEN;
  }
}

/// Finds the pages of [address, address + length); returns whether they are all of the heap.
static int locate(void* address, size_t length, size_t* first, size_t* size) {
  const uintptr_t offset = (uintptr_t)address - (uintptr_t)pages;
  if (!pages || length == 0 || offset % PAGE != 0 || offset / PAGE >= count) return 0;
  *first = offset / PAGE;
  *size = (length - 1) / PAGE + 1;
  return *size <= count - *first;
}

static void* fail(int why) {
  errno = why;
  return MAP_FAILED;
}

void* __mmap(void* address, size_t length, int rights, int flags, int file, off_t offset) {
  (void)address, (void)rights, (void)file, (void)offset;
  if (!pages) set_up();
  if (length == 0 || (flags & MAP_FIXED)) return fail(EINVAL);
  if (!(flags & MAP_ANONYMOUS)) return fail(ENODEV);
  if (length > count * PAGE) return fail(ENOMEM);
  const size_t size = (length - 1) / PAGE + 1;
  size_t first = find(size, next, count);
  if (first == count) first = find(size, 0, count);
  if (first == count) return fail(ENOMEM);
  take(first, size);
  next = first + size;
  return pages + first * PAGE;
}

int __munmap(void* address, size_t length) {
  size_t first, size;
  if (!locate(address, length, &first, &size)) {
    errno = EINVAL;
    return -1;
  }
  for (size_t i = first; i != first + size; ++i) {
    if (states()[i] == TAKEN) states()[i] = FREE;
  }
  if (first < next) next = first;
  return 0;
}

void* __mremap(void* address, size_t length, size_t wanted, int flags, ...) {
  size_t first, size;
  if (!locate(address, length, &first, &size) || wanted == 0 || (flags & ~MREMAP_MAYMOVE)) {
    return fail(EINVAL);
  }
  const size_t more = (wanted - 1) / PAGE + 1;
  if (more <= size) {
    if (more != size) __munmap(pages + (first + more) * PAGE, (size - more) * PAGE);
    return address;
  }
  if (more > count) return fail(ENOMEM);
  if (room_at(first + size, more - size) == more - size) {
    take(first + size, more - size);
    return address;
  }
  if (!(flags & MREMAP_MAYMOVE)) return fail(ENOMEM);
  void* const moved = __mmap(NULL, wanted, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (moved == MAP_FAILED) return moved;
  memcpy(moved, address, size * PAGE);
  __munmap(address, size * PAGE);
  return moved;
}

int __madvise(void* address, size_t length, int advice) {
  size_t first, size;
  if (advice != MADV_DONTNEED || !locate(address, length, &first, &size)) return 0;
  for (size_t i = first; i != first + size; ++i) {
    if (states()[i] != UNTOUCHED) memset(pages + i * PAGE, 0, PAGE);
  }
  return 0;
}

/// All of the heap stays readable and writable: the page tables are the host's.
int __mprotect(void* address, size_t length, int rights) {
  (void)address, (void)length;
  if (rights & PROT_EXEC) {
    errno = EACCES;
    return -1;
  }
  return 0;
}

#undef mmap64
#define ALIAS(name) __attribute__((weak, alias("__" #name)))
void* mmap(void*, size_t, int, int, int, off_t) ALIAS(mmap);
void* mmap64(void*, size_t, int, int, int, off_t) ALIAS(mmap);
int munmap(void*, size_t) ALIAS(munmap);
void* mremap(void*, size_t, size_t, int, ...) ALIAS(mremap);
int madvise(void*, size_t, int) ALIAS(madvise);
int mprotect(void*, size_t, int) ALIAS(mprotect);
