; Jumps to wherever it is told to.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; void(u64): goes to the address.
virtine_export jump, "v(u8)"
  mov rax, constants
  mov rcx, data
  jmp [rdi]

; void(): not reached, and of no size; nothing follows it.
global last
last:
  ud2

section .rodata
global constants
constants: times 64 db 0xcc

section .data
global data
data: times 64 db 0xcc
