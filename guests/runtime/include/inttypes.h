// The formats of the fastest integers, which bits/stdint.h makes wider than musl has them.
// Must not know guests. Found before musl's own file of this name.
// SPDX-License-Identifier: MIT
#pragma once

#include_next <inttypes.h>

#undef PRIdFAST16
#undef PRIdFAST32
#undef PRIiFAST16
#undef PRIiFAST32
#undef PRIoFAST16
#undef PRIoFAST32
#undef PRIuFAST16
#undef PRIuFAST32
#undef PRIxFAST16
#undef PRIxFAST32
#undef PRIXFAST16
#undef PRIXFAST32
#undef SCNdFAST16
#undef SCNdFAST32
#undef SCNiFAST16
#undef SCNiFAST32
#undef SCNoFAST16
#undef SCNoFAST32
#undef SCNuFAST16
#undef SCNuFAST32
#undef SCNxFAST16
#undef SCNxFAST32

#define PRIdFAST16 "ld"
#define PRIdFAST32 "ld"
#define PRIiFAST16 "li"
#define PRIiFAST32 "li"
#define PRIoFAST16 "lo"
#define PRIoFAST32 "lo"
#define PRIuFAST16 "lu"
#define PRIuFAST32 "lu"
#define PRIxFAST16 "lx"
#define PRIxFAST32 "lx"
#define PRIXFAST16 "lX"
#define PRIXFAST32 "lX"
#define SCNdFAST16 "ld"
#define SCNdFAST32 "ld"
#define SCNiFAST16 "li"
#define SCNiFAST32 "li"
#define SCNoFAST16 "lo"
#define SCNoFAST32 "lo"
#define SCNuFAST16 "lu"
#define SCNuFAST32 "lu"
#define SCNxFAST16 "lx"
#define SCNxFAST32 "lx"
