#include "apart.h"
#include <stdio.h>

/* Calls what two other files have, one of which has a marked function, too. */
long of_both(int n, const int values[n]) {
  long sum = 0;
  for (int i = 0; i < n; i++) sum += square(values[i]) + helper(values[i]) + apart_table[i & 3];
  return sum;
}
static virtine int alone(int x) { return x + 1; }

int main(void) {
  const int values[] = {1, 2, 3, 40};
  printf("%ld %d %d\n", of_both(4, values), square(7), alone(helper(2)));
  return 0;
}
