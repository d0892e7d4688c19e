; A user64 function in nasm.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; int add(int, int): rdi = frame; result at 0, arguments at 4 and 8.
virtine_export add, "i4(i4,i4)"
  mov eax, [rdi + 4]
  add eax, [rdi + 8]
  mov [rdi], eax
  ret
