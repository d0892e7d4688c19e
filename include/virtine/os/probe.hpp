// Static tracepoints (USDT) for bpftrace, perf and SystemTap. docs/guide.md lists them.
// Knows nothing of what they tell.
// SPDX-License-Identifier: MIT
#pragma once

// An instruction that does nothing, and a note in the program's file that says where it is. Only
// where VIRTINE_USDT is defined, the same in all files of a program.
#ifdef VIRTINE_USDT
#if !__has_include(<sys/sdt.h>)
#error "VIRTINE_USDT needs <sys/sdt.h>: install systemtap-sdt-dev"
#endif
#include <sys/sdt.h>
#define VIRTINE_PROBE(name, first, second) DTRACE_PROBE2(virtine, name, first, second)
#else
#define VIRTINE_PROBE(name, first, second) static_cast<void>(0)
#endif
