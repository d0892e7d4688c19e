; Bare functions that end badly.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; int(int): the argument plus one; or, without anything to take an exception, ud2 for 0.
virtine_export fault_on_zero, "i4(i4)"
  mov eax, [edi + 4]
  test eax, eax
  jnz .good
  ud2
.good:
  inc eax
  mov [edi], eax
  virtine_done

; int(int): writes the MSR whose number is given with 0; returns 1.
virtine_export write_msr, "i4(i4)"
  mov ecx, [edi + 4]
  xor eax, eax
  xor edx, edx
  wrmsr
  mov dword [edi], 1
  virtine_done

; int(int): reads the MSR whose number is given; returns 1.
virtine_export read_msr, "i4(i4)"
  mov ecx, [edi + 4]
  rdmsr
  mov dword [edi], 1
  virtine_done

; int(int): never ends.
virtine_export loop_for_ever, "i4(i4)"
.ever:
  jmp .ever

; int(int): writes to a port that means nothing.
virtine_export foreign_port, "i4(i4)"
  out 0x20, eax
  virtine_done

; int(int): touches memory that is not there.
virtine_export beyond, "i4(i4)"
  mov eax, [edi + 4]
  mov [eax], eax
  virtine_done
