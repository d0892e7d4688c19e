; The image that sequences run in: room for their code and data, and a function that tells all that
; it finds in the processor. The host fills the room before it loads the image.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

; What the processor may have; the host finds out by trying.
HAS_XSAVE equ 1
HAS_FSGSBASE equ 2
HAS_PKRU equ 4

section .text

; v(u4 has): writes a report, whose parts image.hpp names. The first store uses no register.
virtine_export look, "v(u4)"
  mov [rel report], rax
  mov [rel report + 8], rbx
  mov [rel report + 16], rcx
  mov [rel report + 24], rdx
  mov [rel report + 32], rsi
  mov [rel report + 40], rdi
  mov [rel report + 48], rbp
  mov [rel report + 56], rsp
  mov [rel report + 64], r8
  mov [rel report + 72], r9
  mov [rel report + 80], r10
  mov [rel report + 88], r11
  mov [rel report + 96], r12
  mov [rel report + 104], r13
  mov [rel report + 112], r14
  mov [rel report + 120], r15
  pushfq
  pop qword [rel report + 128]
  mov [rel report + 136], ds
  mov [rel report + 138], es
  mov [rel report + 140], fs
  mov [rel report + 142], gs
  mov [rel report + 144], ss
  mov [rel report + 146], cs
  mov ebx, [rdi]
  lea rax, [rel probe]
  mov rcx, [fs:rax]
  mov [rel report + 152], rcx
  mov rcx, [gs:rax]
  mov [rel report + 160], rcx
  test ebx, HAS_FSGSBASE
  jz .no_base
  rdfsbase rax
  mov [rel report + 168], rax
  rdgsbase rax
  mov [rel report + 176], rax
.no_base:
  test ebx, HAS_PKRU
  jz .no_pkru
  xor ecx, ecx
  rdpkru
  mov [rel report + 184], eax
.no_pkru:
  fnstenv [rel report + 192]
  fxsave64 [rel report + 256]
  test ebx, HAS_XSAVE
  jz .no_xsave
  xor ecx, ecx
  xgetbv
  mov [rel report + 768], eax
  mov [rel report + 772], edx
  mov eax, -1
  mov edx, eax
  xsave64 [rel report + 1024]
.no_xsave:
  ret

align 4096, db 0xcc
global room:function
room:
  times 256 * 256 db 0xcc

section .rodata
align 4096
constants: times 4096 db 0
probe: dq 0x0123456789abcdef

section .bss
align 4096
report: resb 5 * 4096
room_for_data: resb 6 * 4096
