; Sends back what it receives, in protected mode: what echo.cpp does, with nothing around it.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

RECEIVE equ 1
SEND equ 2
ROOM equ 2048

; Stores the time-stamp counter at %1; changes eax and edx.
%macro store_count 1
  rdtsc
  mov [%1], eax
  mov [%1 + 4], edx
%endmacro

section .text

; echo::counts serve(): edi = frame, with the result at 0.
virtine_export serve, "{24.8}()"
  mov esi, edi
  store_count esi

  mov edi, call_frame
  mov dword [call_frame.address], text
  mov dword [call_frame.count], ROOM
  virtine_hypercall RECEIVE
  store_count esi + 8

  mov eax, [call_frame.result]
  mov [call_frame.count], eax
  virtine_hypercall SEND
  store_count esi + 16
  virtine_done

; The frame of either hypercall: a number of 32 bits and a span. Memory of a bare image outside its
; file is zero, and so are the upper halves.
section .bss align=64
call_frame:
.result: resd 2
.address: resd 2
.count: resd 2
text: resb ROOM
