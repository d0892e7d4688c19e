// What makes one function of the pieces of code that objects have in sections .init, as assembly
// does in place of a table of constructors. Linked into images that have any.
// Must not know what they do.
// SPDX-License-Identifier: MIT

// The linker script puts the pieces between these.
__asm__(
    ".section .init.virtine_begin, \"ax\", @progbits\n"
    ".globl virtine_pieces_begin\n"
    ".type virtine_pieces_begin, @function\n"
    "virtine_pieces_begin:\n"
    "  subq $8, %rsp\n"
    ".section .init.virtine_end, \"ax\", @progbits\n"
    ".globl virtine_pieces_end\n"
    "virtine_pieces_end:\n"
    "  addq $8, %rsp\n"
    "  ret\n"
    ".text");
