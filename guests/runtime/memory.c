// The memory functions that compilers call on their own; a guest has no C library to get them from.
// Must not know the guest. All are weak: an image may bring its own.
// SPDX-License-Identifier: MIT

typedef __SIZE_TYPE__ size_t;

#define WEAK __attribute__((weak))

WEAK void* memcpy(void* restrict to, const void* restrict from, size_t size) {
  void* at = to;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
  return to;
}

WEAK void* memmove(void* to, const void* from, size_t size) {
  // As numbers, because pointers into different objects cannot be compared.
  if ((__UINTPTR_TYPE__)to - (__UINTPTR_TYPE__)from >= size) return memcpy(to, from, size);
  unsigned char* at = (unsigned char*)to + size;
  const unsigned char* source = (const unsigned char*)from + size;
  // Eight bytes at a time, because a backward `rep movsb` copies them one by one. Each load comes
  // before the store that overlaps it, since `to` lies above `from`.
  for (; size >= 8; size -= 8) {
    unsigned long word;
    __builtin_memcpy(&word, source -= 8, 8);
    __builtin_memcpy(at -= 8, &word, 8);
  }
  while (size-- > 0) *--at = *--source;
  return to;
}

WEAK void* memset(void* to, int value, size_t size) {
  void* at = to;
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
  return to;
}

WEAK int memcmp(const void* left, const void* right, size_t size) {
  const unsigned char* a = left;
  const unsigned char* b = right;
  for (; size > 0; ++a, ++b, --size) {
    if (*a != *b) return *a - *b;
  }
  return 0;
}

WEAK int bcmp(const void* left, const void* right, size_t size) {
  return memcmp(left, right, size);
}

WEAK void* memchr(const void* where, int value, size_t size) {
  for (const unsigned char* at = where; size > 0; ++at, --size) {
    if (*at == (unsigned char)value) return (void*)at;
  }
  return 0;
}

WEAK size_t strlen(const char* text) {
  size_t size = 0;
  while (text[size] != 0) ++size;
  return size;
}
