#include <virtine.h>
int helper(int n);
virtine int other(int n);
int call_same_name(int n);
virtine int through_marked(int n);
static inline virtine int header_inline(int n) { return n - 1; }
