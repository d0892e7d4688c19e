// Several files: a marked function that calls another file's, one that others call, a static one
// of the same name as another file's.
#include <stdio.h>
#include "several.h"
virtine int outer(int n) { return helper(n) + 1; }
static virtine int same_name(int n) { return n + 1; }
int main(void) {
  printf("%d %d %d %d %d\n", outer(3), other(4), same_name(1), call_same_name(1), header_inline(5));
  int (*f)(int) = other;
  printf("%d %d\n", f(5), through_marked(2));
  return 0;
}
