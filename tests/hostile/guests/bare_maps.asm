; A bare guest that maps memory where there is none, and one that looks whether it finds it there.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

DIRECTORY equ 0x6000            ; of the page tables that the machine starts with
FOREIGN equ 5 * 0x200000        ; an address that they do not map
OUTSIDE equ 0x20000             ; mapped, but without memory
PRESENT equ 1
WRITABLE equ 2
USER equ 4
LARGE equ 0x80

section .text

; Maps FOREIGN to where 0 is, reads from it at CPL 0 and leaves by port 0x11.
virtine_export map, "v()"
  mov qword [abs DIRECTORY + 5 * 8], PRESENT | WRITABLE | USER | LARGE
  mov eax, FOREIGN + witness
  mov rbx, [rax]
  out 0x11, al
  hlt

; Reads from FOREIGN at CPL 0, and leaves by port 0x11 if it can.
virtine_export find, "v()"
  mov eax, FOREIGN + witness
  mov rbx, [rax]
  out 0x11, al
  hlt

; The same at CPL 3, which some KVMs run in another way. Leave by a load from OUTSIDE.
virtine_export map_as_user, "v()"
  mov qword [abs DIRECTORY + 5 * 8], PRESENT | WRITABLE | USER | LARGE
virtine_export find_as_user, "v()"
  or qword [abs 0x4000], USER
  or qword [abs 0x5000], USER
  or qword [abs DIRECTORY], USER
  lgdt [table]
  push 0x1b
  push 0x8000
  push 0x202
  push 0x13
  push user
  iretq
user:
  mov eax, FOREIGN + witness
  mov rbx, [rax]
  mov eax, OUTSIDE
  mov rcx, [rax]
.again:
  jmp .again

align 8
witness:
  dq 0x77171e55
segments:
  dq 0
  dq 0
  dq 0x00affb000000ffff         ; 0x10: 64-bit code of CPL 3
  dq 0x00cff3000000ffff         ; 0x18: data of CPL 3
table:
  dw table - segments - 1
  dq segments
