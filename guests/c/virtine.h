/* Functions of C programs that run in virtual machines of their own. Compile with vcc.
 *
 *   virtine int square(int x) { return x * x; }
 *   virtine long sum(int n, const int values[n]) { ... }           copied in
 *   virtine void scale(int n, double values[n], double by) { ... }  not const: copied back, too
 *
 * docs/vcc.md says what can cross, and what happens when a call fails.
 * SPDX-License-Identifier: MIT */
#ifndef VIRTINE_H
#define VIRTINE_H

#if defined(VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION)
#define VIRTINE_ANNOTATE(text)
#elif !defined(__VCC__)
#error "virtine: this file has functions for virtual machines; compile it with vcc (CC=vcc). No other \
compiler makes them. To debug without isolation, define VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION."
#elif __VCC__ == 2 /* The compiler beneath looks for what it warns of. */
#define VIRTINE_ANNOTATE(text)
#else
#define VIRTINE_ANNOTATE(text) __attribute__((annotate(text)))
#endif
#define VIRTINE_MARK_LIST(before, ...) VIRTINE_ANNOTATE(before #__VA_ARGS__)

/* Before a definition: its calls run in a virtual machine, which may ask nothing of the program. */
#define virtine VIRTINE_ANNOTATE("virtine:")
/* The same, with grants and limits: virtine_config(output, clock, entropy, timeout=60s). */
#define virtine_config(...) VIRTINE_MARK_LIST("virtine:", __VA_ARGS__)
/* The same, and it may do whatever the program may, with every file of it: this is no boundary. */
#define virtine_permissive VIRTINE_ANNOTATE("virtine:permissive")

/* On a parameter: it points to so many elements (bytes, if it is void *). For interfaces that have
 * the pointer before its length: long sum(const int *v virtine_size(n), int n). */
#define virtine_size(...) VIRTINE_MARK_LIST("virtine_size:", __VA_ARGS__)
/* On a const char * that is a text with a zero byte at its end, where vcc asks for that. */
#define virtine_string VIRTINE_ANNOTATE("virtine_string")
/* On a variable: each call of a marked function has its own, with the value it was declared with. */
#define virtine_private VIRTINE_ANNOTATE("virtine_private")

/* What went wrong with a call. */
typedef struct virtine_failure {
  int failed;           /* 0: nothing */
  int line;             /* where the function is defined */
  const char *file;
  const char *function;
  const char *reason;   /* the name of the error, as docs/errors.md has it: "guest_fault" */
  char text[512];       /* one line that says all of it */
  struct virtine_failure *outer; /* the library's */
} virtine_failure;

/* What a program ends with when a call fails and nobody asked to be told. */
#define VIRTINE_EXIT_STATUS 70

/* Makes a call that may fail: if (virtine_try(&failure, nine = square(3))) puts(failure.text);
 * Returns whether it failed. The result is 0 then, and later calls of marked functions by the same
 * expression are not made. Do not leave the expression by longjmp(). */
#define virtine_try(failure, ...) \
  (virtine_c_begin_try(failure), (void)(__VA_ARGS__), virtine_c_end_try())

#if defined(VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION)
static inline void virtine_c_begin_try(virtine_failure *failure) { failure->failed = 0; }
static inline int virtine_c_end_try(void) { return 0; }
static inline void virtine_on_failure(void (*handler)(const virtine_failure *)) { (void)handler; }
#else
void virtine_c_begin_try(virtine_failure *failure);
int virtine_c_end_try(void);
/* Has `handler` called when a call fails outside of virtine_try(), on the thread that made it, in
 * place of the message on stderr. If it returns the program ends with VIRTINE_EXIT_STATUS. NULL
 * brings the message back. */
void virtine_on_failure(void (*handler)(const virtine_failure *));
#endif

#endif
