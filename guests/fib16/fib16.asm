; Recursive Fibonacci numbers in real mode, where registers of 32 bits can be used all the same.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; int fib(int): di = frame; result at 0, argument at 4. Entered by a jump, so it does not return.
virtine_export fib, "i4(i4)"
  mov eax, [di + 4]
  call fib
  mov [di], eax
  virtine_done

; eax = n -> eax = fib(n); changes ecx.
fib:
  cmp eax, 2
  jl .done
  push eax
  dec eax
  call fib
  pop ecx
  push eax
  lea eax, [ecx - 2]
  call fib
  pop ecx
  add eax, ecx
.done:
  ret
