// What virtines are compared with does this: compiled natively, and to WebAssembly.
// SPDX-License-Identifier: MIT
#ifdef __wasm__
#define EXPORT __attribute__((export_name("fib")))
#else
#define EXPORT
#endif

EXPORT int beside_fib(int n) { return n < 2 ? n : beside_fib(n - 1) + beside_fib(n - 2); }
