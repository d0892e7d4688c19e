; An image of a chosen size: CONTENT bytes of data, all of which the guest may write, none of them
; zero. What it costs to be large must not depend on how few bytes a call touches, so it reads one.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; unsigned char at(unsigned index)
virtine_export at, "u1(u4)"
  mov eax, [rdi + 4]
  lea rdx, [content]
  mov al, [rdx + rax]
  mov [rdi], al
  ret

; Text, because that is what a generated header takes one byte for.
section .data
content:
  times CONTENT / 16 db "0123456789abcdef"
