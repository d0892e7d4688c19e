// What marked functions do with what they are granted: files of the program's, random bytes, output, time.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <virtine.h>

virtine_permissive int count_lines(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) return -errno;
  int lines = 0;
  for (int c; (c = fgetc(file)) != EOF;) lines += c == '\n';
  fclose(file);
  return lines;
}
virtine_permissive int append(const char *path, const char *text) {
  FILE *file = fopen(path, "a");
  if (!file) return -errno;
  fputs(text, file);
  return fclose(file);
}
virtine_permissive int remove_file(const char *path) { return unlink(path); }
virtine_permissive int has_environment(const char *name) { return getenv(name) != NULL; }
virtine_permissive void print_twice(const char *text) { printf("%s%s", text, text); fflush(stdout); }
virtine_config(entropy) int random_bytes(int n, unsigned char bytes[n]) { return (int)getrandom(bytes, (size_t)n, 0); }
virtine_config(clock) int is_late(void) { return time(NULL) > 1000000000; }
virtine_config(output, clock, entropy) int everything(void) {
  unsigned char byte[1];
  return printf("all %d\n", getrandom(byte, 1, 0) == 1 && time(NULL) > 1000000000) == 6;
}

int main(void) {
  char path[] = "/tmp/vcc-grants-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0 || write(file, "one\ntwo\n", 8) != 8) return 1;
  printf("%d %d\n", count_lines(path), count_lines("/nowhere/at/all") == -ENOENT);
  const int appended = append(path, "three\n");
  printf("%d %d\n", appended, count_lines(path));
  printf("before "); // In the buffer of the program's stdout, in front of what the guest prints.
  print_twice("within ");
  printf("after\n");
  setenv("OF_THE_PROGRAM", "1", 1);
  printf("%d %d\n", has_environment("PATH"), has_environment("NOT_AT_ALL"));
  const int removed = remove_file(path);
  printf("%d %d\n", removed, access(path, F_OK));
  unsigned char a[256] = {0}, b[256] = {0};
  const int first = random_bytes(256, a), second = random_bytes(256, b);
  printf("%d %d %d\n", first, second, memcmp(a, b, 256) != 0);
  const int late = is_late();
  printf("%d %d\n", late, everything());
  return 0;
}
