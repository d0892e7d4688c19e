// The paper's fib by the keyword, and natively; and the function that calls are compared by.
#include <virtine.h>

int native_fib(int n) { return n < 2 ? n : native_fib(n - 1) + native_fib(n - 2); }
virtine int vcc_fib(int n) { return n < 2 ? n : vcc_fib(n - 1) + vcc_fib(n - 2); }
virtine int vcc_square(int n) { return n * n; }
