/* Has nothing of virtual machines: cc compiles it, for the program and for guests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int table_of(int x);
static const char *const names[] = {"zero", "one", "two"};
const int apart_table[4] = {1, 10, 100, 1000};

int helper(int x) {
  char text[32];
  snprintf(text, sizeof text, "%s %d", names[x % 3], x);
  char *const copy = strdup(text);
  const int length = (int)strlen(copy);
  free(copy);
  return length + table_of(x);
}
