; A bare guest that attacks what CPL 0 gives it: all of its own machine.
; Must not know what each attack comes to; the tests say that.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; uint good(uint a, uint b): a * b, plus the witness's change.
virtine_export good, "u4(u4,u4)"
  mov eax, [rdi + 4]
  imul eax, [rdi + 8]
  mov ecx, [abs witness]
  xor ecx, 0x77171e55
  add eax, ecx
  mov [rdi], eax
  virtine_done

; uint take(span<const uint> all): the first of them.
virtine_export take, "u4([u4])"
  mov rsi, [rdi + 8]
  mov eax, [rsi]
  mov [rdi], eax
  virtine_done

; uint left(uint): how many words of the memory for arguments are not zero, but for its own frame.
virtine_export left, "u4(u4)"
  lea rsi, [rdi + 8]
  mov ecx, (0x4000 - VIRTINE_FRAME - 8) / 4
  xor eax, eax
.next:
  cmp dword [rsi], 0
  je .zero
  inc eax
.zero:
  add rsi, 4
  dec ecx
  jnz .next
  mov [rdi], eax
  virtine_done

; uint msr(uint index, uint write): reads it, and writes back what it has if `write`.
virtine_export msr, "u4(u4,u4)"
  mov ecx, [rdi + 4]
  rdmsr
  cmp dword [rdi + 8], 0
  je .read
  wrmsr
.read:
  mov [rdi], eax
  virtine_done

; uint kvm(uint number): makes a hypercall of KVM's with an address of ours, and says how many bytes
; from there on were changed.
virtine_export kvm, "u4(u4)"
  mov eax, [rdi + 4]
  mov ebx, asked
  xor ecx, ecx
  xor edx, edx
  xor esi, esi
  vmcall
  xor ecx, ecx
  mov esi, asked
.next:
  cmp byte [rsi], 0
  je .same
  inc ecx
.same:
  inc esi
  cmp esi, asked + 64
  jb .next
  mov [rdi], ecx
  virtine_done

; uint virtualise(uint number): what makes a guest a host of its own; 0 if that is done.
virtine_export virtualise, "u4(u4)"
  mov eax, [rdi + 4]
  cmp eax, 1
  jb .svme
  je .vmxe
  mov ecx, 0xc0000080
  cmp eax, 3
  jb .vmrun
  je .vmload
  cmp eax, 5
  jb .vmsave
  je .stgi
  cmp eax, 7
  jb .clgi
  je .vmxon
  cmp eax, 9
  jb .vmptrld
  je .invept
.svme:
  mov ecx, 0xc0000080
  rdmsr
  or eax, 1 << 12
  wrmsr
  jmp .done
.vmxe:
  mov rax, cr4
  or eax, 1 << 13
  mov cr4, rax
  jmp .done
.vmrun:
  mov eax, 0xa000
  vmrun
  jmp .done
.vmload:
  mov eax, 0xa000
  vmload
  jmp .done
.vmsave:
  mov eax, 0xa000
  vmsave
  jmp .done
.stgi:
  stgi
  jmp .done
.clgi:
  clgi
  jmp .done
.vmxon:
  vmxon [abs asked]
  jmp .done
.vmptrld:
  vmptrld [abs asked]
  jmp .done
.invept:
  invept rax, [abs asked]
.done:
  mov dword [rdi], 0
  virtine_done

%macro attack 2                 ; NAME, number
  cmp eax, %2
  je %1
%endmacro

; uint attack(uint number)
virtine_export attack, "u4(u4)"
  mov eax, [rdi + 4]
  mov dword [abs witness], 1
  attack fill_memory, 0
  attack load_cr3, 1
  attack no_handlers, 2
  attack no_paging, 3
  attack no_long_mode, 4
  attack no_interrupts, 5
  attack jump_away, 6
  attack write_away, 7
  attack foreign_out, 8
  attack foreign_in, 9
  attack ask, 10
  attack break_next, 11
  attack read_msr, 12
  attack write_msr, 13
  attack string_out, 14
  attack write_twice, 15
  mov dword [rdi], 0xbad
  virtine_done

; From behind the code over the end of memory, then from 0 over page tables and stack to the code.
fill_memory:
  mov ebx, filled
  mov ecx, 0x10000
.up:
  mov [rbx], rbx
  add rbx, 8
  cmp rbx, rcx
  jb .up
  xor ebx, ebx
.low:
  mov [rbx], rbx
  add rbx, 8
  cmp rbx, 0x8000
  jb .low
  virtine_done
load_cr3:
  mov eax, 0x9000
  mov cr3, rax
  virtine_done
no_handlers:
  lidt [abs nothing]
  lgdt [abs nothing]
  int3
  virtine_done
no_paging:
  mov rax, cr0
  and eax, 0x7fffffff
  mov cr0, rax
  virtine_done
no_long_mode:
  mov ecx, 0xc0000080
  xor eax, eax
  xor edx, edx
  wrmsr
  virtine_done
no_interrupts:
  cli
.again:
  pause
  jmp .again
jump_away:
  mov eax, 0x40000000
  jmp rax
write_away:
  mov eax, 0x180000
  mov [rax], eax
  virtine_done
foreign_out:
  mov edx, 0xcf8
  out dx, eax
  virtine_done
foreign_in:
  in al, 0x60
  virtine_done
ask:
  mov eax, 1
  mov edi, -8
  out VIRTINE_HYPERCALL_PORT, eax
  virtine_done
; A breakpoint on the first instruction of good, and on the witness.
break_next:
  mov eax, virtine_entry_good
  mov dr0, rax
  mov eax, witness
  mov dr1, rax
  mov eax, 0x00f0070f
  mov dr7, rax
  virtine_done
read_msr:
  mov ecx, 0xc0000082
  rdmsr
  mov [rdi], eax
  virtine_done
write_msr:
  mov ecx, 0x4b564d01           ; KVM's clock: would have KVM write to memory
  mov eax, 0xa001
  xor edx, edx
  wrmsr
  virtine_done
string_out:
  mov edx, VIRTINE_DONE_PORT
  mov ecx, 100
  mov esi, 0x9000
  rep outsd
  virtine_done
; A store in two halves, of which the second must not happen in the next call.
write_twice:
  mov eax, 0x180000
  movups [rax], xmm0
  virtine_done

align 8
nothing:
  dw 0
  dq 0
asked:
  times 64 db 0
witness:
  dd 0x77171e55
filled:
