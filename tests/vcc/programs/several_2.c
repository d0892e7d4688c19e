#include "several.h"
static const int base = 10;
int helper(int n) { return base * n; }
int other(int n) { return n * n; }
static virtine int same_name(int n) { return n + 2; }
int call_same_name(int n) { return same_name(n) + header_inline(n); }
virtine int through_marked(int n) { return other(n) + helper(n); }
