// The block that the thread pointer of an image leads to, right behind the thread-local variables,
// which are used in place. Linked into images that use the thread pointer.
// Must not know what the C library keeps there but that it is less than this.
// SPDX-License-Identifier: MIT

// Of no size. It makes the thread-local variables end at a multiple of 64, where this block begins,
// and have bytes in the image although they be zeros.
__asm__(".section .tdata.virtine, \"awT\", @progbits\n.balign 64\n.text");

struct thread {
  struct thread* self;  // By which code finds its own thread pointer.
  char rest[504];
};

__attribute__((section(".data.virtine_thread"), aligned(64))) struct thread virtine_thread = {
    .self = &virtine_thread};
