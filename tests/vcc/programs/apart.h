/* Files that are compiled one by one: what marked functions call is put together at link time. */
#include <virtine.h>

virtine long of_both(int n, const int values[n]);
virtine int square(int x);
int helper(int x);
int table_of(int x);
extern const int apart_table[4];
