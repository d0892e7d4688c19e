// error: virtine \[V109\]: this compiler cannot tell where the padding of a type is
// compiler: clang
// Without __builtin_clear_padding the padding is found by making a value of bytes.
// SPDX-License-Identifier: MIT
#include <cstddef>

#include <virtine/abi/object_bytes.hpp>

#ifndef __has_builtin
#define __has_builtin(name) 0
#endif

struct sample {
  char kind;
#if defined(VALID)
  int value;
#elif __has_builtin(__builtin_clear_padding)
#error virtine [V109]: this compiler cannot tell where the padding of a type is, said by the test.
#else
  union {
    int value;
    float real;
  };
#endif
};

void encode(std::byte* to, const sample& from) {
  virtine::detail::encode(to, from);
}
