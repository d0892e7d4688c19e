#include "apart.h"

static int twice(int x) { return 2 * x; }
virtine int square(int x) { return x * x; }
int table_of(int x) { return twice(square(x)); }
