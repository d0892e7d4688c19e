// A word counter in C.
// SPDX-License-Identifier: MIT
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/// Returns the number of words, parted by white space, in the `size` bytes at `text`.
unsigned long count_words(const char* text, unsigned long size);

#ifdef __cplusplus
}
#endif
