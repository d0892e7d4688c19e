; Bare code for machines that are driven by hand, the same in every mode.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; Leaves three times: port 0x10 gets al / 2, port 0x11 gets bx + 1 in two bytes, then hlt.
virtine_export halves, "v()"
  shr al, 1
  out 0x10, al
  mov dx, 0x11
  mov ax, bx
  inc ax
  out dx, ax
  hlt
.ever:
  jmp .ever

; Adds one to the byte at 0x9000, says what it was to port 0x10, and halts for ever.
virtine_export counts, "v()"
%if VIRTINE_BITS == 16
  push word 0x900
  pop es
  mov al, [es:0]
  inc byte [es:0]
%else
  mov ecx, 0x9000
  mov al, [ecx]
  inc byte [ecx]
%endif
  out 0x10, al
.ever:
  hlt
  jmp .ever
