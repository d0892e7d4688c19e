; The way of a bare image from real mode to the mode it was built for (SDM vol. 3, 9.8 and 9.9).
; Must not know the function it goes to. virtine-cc links it as the image's first bytes for --boot
; and defines VIRTINE_BITS (32 or 64) and VIRTINE_MEMORY (bytes).
; SPDX-License-Identifier: MIT
;
; At entry: real mode, cs = ds = es = ss = 0, ip = 0x8000; ebx = address of the function,
; edi = address of its call frame.
; At exit: jumps to ebx with edi as it was, esp = VIRTINE_STACK, flat segments; eax, ecx and edx
; are changed.
;
; Interrupts are not turned off first, as one would on a machine, because a virtine has no source
; of any and hosts exist that run a guest worse with IF clear.

%include "virtine.inc"

CR0_PE equ 1 << 0
CR0_PG equ 1 << 31
CR4_PAE equ 1 << 5
EFER equ 0xc0000080
EFER_LME equ 1 << 8

CODE32 equ 0x08
DATA equ 0x10
CODE64 equ 0x18

PRESENT_WRITABLE equ 0x03
LARGE_PAGE equ 0x80
LARGE_PAGE_SIZE equ 2 << 20

; The page tables of long64, between the largest call frame and the stack.
PML4 equ 0x4000
PDPT equ 0x5000
PD equ 0x6000

section .virtine.boot progbits alloc exec nowrite align=16

; CR0.PE makes the processor take segments from the GDT, so the GDT comes first. cs keeps its real
; mode meaning until the far jump reloads it; nothing may come in between.
bits 16
  lgdt [gdt_pointer]
  mov eax, cr0
  or eax, CR0_PE
  mov cr0, eax
  jmp CODE32:protected

; The other segment registers keep their 64 KiB limit until they are loaded as well.
bits 32
protected:
  mov eax, DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov gs, eax
  mov esp, VIRTINE_STACK

%if VIRTINE_BITS == 32
  jmp ebx
%else

; Long mode needs paging: map the memory to itself by 2 MiB pages. The entries that are not written
; are zero, because memory outside the image starts as zeros.
  mov dword [PML4], PDPT | PRESENT_WRITABLE
  mov dword [PDPT], PD | PRESENT_WRITABLE
  mov eax, LARGE_PAGE | PRESENT_WRITABLE
  mov ecx, PD
map:
  mov [ecx], eax
  add ecx, 8
  add eax, LARGE_PAGE_SIZE
  cmp eax, VIRTINE_MEMORY
  jb map

; The order is the processor's (SDM vol. 3, 9.8.5): with paging off, CR4.PAE for tables of this
; form, then CR3, then EFER.LME; CR0.PG then activates long mode, and would raise #GP without PAE.
  mov eax, cr4
  or eax, CR4_PAE
  mov cr4, eax
  mov eax, PML4
  mov cr3, eax
  mov ecx, EFER
  rdmsr
  or eax, EFER_LME
  wrmsr
  mov eax, cr0
  or eax, CR0_PG
  mov cr0, eax

; So far this is compatibility mode; a code segment with L set makes it 64-bit mode. The upper
; halves of registers are undefined after the change, so those that matter are cleared.
  jmp CODE64:long_mode
bits 64
long_mode:
  mov ebx, ebx
  mov edi, edi
  mov esp, VIRTINE_STACK
  jmp rbx
%endif

; All accessed bits are set, so that loading a segment writes nothing.
align 8
gdt:
  dq 0
  dq 0x00cf9b000000ffff         ; CODE32: base 0, limit 4 GiB, DPL 0
  dq 0x00cf93000000ffff         ; DATA: the same, writable
  dq 0x00af9b000000ffff         ; CODE64: L set
gdt_pointer:
  dw gdt_pointer - gdt - 1
  dd gdt
