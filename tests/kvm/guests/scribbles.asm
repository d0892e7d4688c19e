; An initialiser that writes to all that a guest can write to, data, arguments and stack.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

virtine_init
  mov qword [value], 42
  mov qword [rdi], -1
  mov qword [rdi + 4096], -1
  push -1
  mov qword [rsp - 4096], -1
  mov qword [rsp - 8192], -1
  pop rax
  mov r15, -1
  ret

virtine_export next, "u8()"
  mov rax, [value]
  inc qword [value]
  mov [rdi], rax
  ret

section .data align=4096
value: dq 1
