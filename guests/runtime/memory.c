// memcpy and memmove, for which the C library has string instructions that take long to begin: what
// most programs copy is short.
// Must not know the guest.
// SPDX-License-Identifier: MIT

#include <stddef.h>
#include <stdint.h>

typedef long long block __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t word8 __attribute__((aligned(1), may_alias));
typedef uint32_t word4 __attribute__((aligned(1), may_alias));
typedef uint16_t word2 __attribute__((aligned(1), may_alias));

// Copies `size` bytes, from one to two times sizeof(type), by two accesses that may overlap. All is
// read before any of it is written, as in everything below, so that source and target may overlap.
#define COPY_ENDS(type)                                             \
  do {                                                              \
    const type first = *(const type*)source;                        \
    const type last = *(const type*)(source + size - sizeof(type)); \
    *(type*)target = first;                                         \
    *(type*)(target + size - sizeof(type)) = last;                  \
  } while (0)

typedef struct {
  block part[4];
} line;

static inline line load(const unsigned char* from) {
  const block* at = (const block*)from;
  return (line){{at[0], at[1], at[2], at[3]}};
}

static inline void store(unsigned char* to, line value) {
  block* at = (block*)to;
  at[0] = value.part[0], at[1] = value.part[1], at[2] = value.part[2], at[3] = value.part[3];
}

// From here on one string instruction is faster, if it does not run into its own output.
enum { LONG = 4096 };

void* memmove(void* to, const void* from, size_t size) {
  unsigned char* target = to;
  const unsigned char* source = from;
  if (size <= 16) {
    if (size >= 8) {
      COPY_ENDS(word8);
    } else if (size >= 4) {
      COPY_ENDS(word4);
    } else if (size >= 2) {
      COPY_ENDS(word2);
    } else if (size == 1) {
      *target = *source;
    }
    return to;
  }
  if (size <= 32) {
    COPY_ENDS(block);
    return to;
  }
  if (size <= 64) {
    const block* at = (const block*)source;
    const block* end = (const block*)(source + size);
    const block parts[4] = {at[0], at[1], end[-2], end[-1]};
    block* to_end = (block*)(target + size);
    ((block*)target)[0] = parts[0], ((block*)target)[1] = parts[1];
    to_end[-2] = parts[2], to_end[-1] = parts[3];
    return to;
  }
  const uintptr_t ahead = (uintptr_t)target - (uintptr_t)source;
  if (ahead >= size) {
    if (size >= LONG && 0 - ahead >= 64) {
      __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(size) : : "memory");
      return to;
    }
    unsigned char* last_target = target + size - 64;
    const line last = load(source + size - 64);
    for (; target < last_target; target += 64, source += 64) store(target, load(source));
    store(last_target, last);
  } else {
    const line first = load(source);
    for (size_t end = size; end > 64; end -= 64) store(target + end - 64, load(source + end - 64));
    store(target, first);
  }
  return to;
}

void* memcpy(void* restrict to, const void* restrict from, size_t size)
    __attribute__((alias("memmove")));
