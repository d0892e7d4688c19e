// The code that README.md and docs/vcc.md show.
#include <stdio.h>
#include <virtine.h>

virtine int square(int x) { return x * x; }
virtine long sum(int n, const int values[n]) { long s = 0; for (int i = 0; i < n; i++) s += values[i]; return s; }
virtine void scale(int n, double values[n], double by) { for (int i = 0; i < n; i++) values[i] *= by; }

int main(void) {
  double prices[] = {1, 2, 3};
  scale(3, prices, 1.5);
  printf("%d %ld %g\n", square(3), sum(3, (const int[]){1, 2, 3}), prices[2]);
}

#include <stddef.h>

virtine unsigned hash(const void *data virtine_size(size), size_t size);
virtine int parse(const char *text virtine_string, int length);   /* a text, whatever length means */

unsigned hash(const void *data, size_t size) { return size ? *(const unsigned char *)data : 0; }
int parse(const char *text, int length) { return text[0] + length; }

virtine_config(output, timeout=60s) int report(const char *title);
int report(const char *title) { return printf("%s\n", title); }

virtine int divide(int a, int b) { return a / b; }
int divides(int a, int b, void (*handler)(const virtine_failure *));
int divides(int a, int b, void (*handler)(const virtine_failure *)) {
  int result = 0;
virtine_failure failure;
if (virtine_try(&failure, result = divide(a, b))) puts(failure.text);   /* result is 0 then */

virtine_on_failure(handler);   /* called instead of the message; the program ends when it returns */
  return result;
}
