; Recursive Fibonacci numbers in long mode at CPL 0.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; int fib(int): rdi = frame; result at 0, argument at 4. Entered by a jump, so it does not return.
virtine_export fib, "i4(i4)"
  mov eax, [rdi + 4]
  call fib
  mov [rdi], eax
  virtine_done

; eax = n -> eax = fib(n); changes ecx.
fib:
  cmp eax, 2
  jl .done
  push rax
  dec eax
  call fib
  pop rcx
  push rax
  lea eax, [rcx - 2]
  call fib
  pop rcx
  add eax, ecx
.done:
  ret
