; A program for real mode: adds the word at 0x2000 to ax, stores the sum there, writes it to port
; 0x10 and halts.
; SPDX-License-Identifier: MIT
bits 16
org 0x8000

  add ax, [0x2000]
  mov [0x2000], ax
  out 0x10, ax
  hlt
