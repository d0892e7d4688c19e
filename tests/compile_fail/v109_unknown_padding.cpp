// error: virtine \[V109\]: this compiler cannot tell where the padding of a type is
// compiler: clang
// Without __builtin_clear_padding the padding is found by looking at a constant T{}.
// SPDX-License-Identifier: MIT
#include <cstddef>

#include <virtine/object_bytes.hpp>

#ifndef __has_builtin
#define __has_builtin(name) 0
#endif

struct sample {
#if defined(VALID)
  constexpr sample() = default;
#elif __has_builtin(__builtin_clear_padding)
#error virtine [V109]: this compiler cannot tell where the padding of a type is, said by the test.
#else
  sample() {}  // NOLINT(modernize-use-equals-default): not constexpr is the point.
#endif
  char kind = 0;
  int value = 0;
};

void encode(std::byte* to, const sample& from) {
  virtine::detail::encode(to, from);
}
