; What a debugger is shown: instructions one by one, a hypercall, a fault, a loop to break into.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .data
turning: dq 1                   ; all of the data

section .text

; int triple(int)
virtine_export triple, "i4(i4)"
  mov eax, [rdi + 4]
global triple_second:function
triple_second:
  lea eax, [rax + rax * 2]
global triple_third:function
triple_third:
  mov [rdi], eax
  ret

; int asks(int): makes hypercall 1 with its frame between two flags images.
virtine_export asks, "i4(i4)"
  pushfq
  pop rdx
  virtine_hypercall 1
global asks_after:function
asks_after:
  pushfq
  pop rcx
  xor ecx, edx
  and ecx, 1 << 8               ; the trap flag, which no step may leave behind
  mov [rdi], ecx
  ret

; void traps(): an int3 of its own.
virtine_export traps, "v()"
  int3
  ret

; int divides(int)
virtine_export divides, "i4(i4)"
  xor edx, edx
  mov eax, 84
global divides_here:function
divides_here:
  div dword [rdi + 4]
  mov [rdi], eax
  ret

; void turns(): until somebody else changes `turning`.
virtine_export turns, "v()"
  pause
  cmp qword [turning], 0
  jne virtine_entry_turns
  ret

; void rewrites(): stores to its code.
virtine_export rewrites, "v()"
  mov byte [rewrites_here], 0x90
rewrites_here:
  ret

; void foul(): writes to one of our ports what nothing of ours does.
virtine_export foul, "v()"
  out VIRTINE_DONE_PORT, al
  ret
