; Boots from real mode to long mode, as the virtines paper's guests do, and takes the time of each
; step. Must not do anything else between two times.
; SPDX-License-Identifier: MIT
;
; A flat binary for a bare machine of 64 KiB in real mode, entered at 0x8000. Ends by a write to
; port 0x10, with the times at `stamps`.

PML4 equ 0x4000
PDPT equ 0x5000
PD equ 0x6000
stamps equ 0x7000

CODE32 equ 0x08
DATA equ 0x10
CODE64 equ 0x18

CR0_PE equ 1 << 0
CR0_PG equ 1 << 31
CR4_PAE equ 1 << 5
EFER equ 0xc0000080
EFER_LME equ 1 << 8

; Stores the time-stamp counter as number %1; changes eax and edx.
%macro time 1
  rdtsc
  mov [stamps + 8 * %1], eax
  mov [stamps + 8 * %1 + 4], edx
%endmacro

bits 16
org 0x8000

  mov dword [stamps], 0          ; The page is there before it is timed.
  time 0
  time 1
  lgdt [gdt_pointer]
  time 2
  mov eax, cr0
  or eax, CR0_PE
  mov cr0, eax
  time 3
  jmp dword CODE32:protected

bits 32
protected:
  time 4
  mov eax, DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  time 5

; 1 GiB by 512 pages of 2 MiB.
  mov dword [PML4], PDPT | 3
  mov dword [PDPT], PD | 3
  mov eax, 0x83
  mov ecx, PD
map:
  mov [ecx], eax
  add eax, 2 << 20
  add ecx, 8
  cmp ecx, PD + 0x1000
  jb map
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
  time 6
  lgdt [gdt_pointer]
  time 7
  jmp CODE64:long_mode

bits 64
long_mode:
  time 8
  out 0x10, eax
  hlt

align 8
gdt:
  dq 0
  dq 0x00cf9b000000ffff         ; CODE32: base 0, limit 4 GiB
  dq 0x00cf93000000ffff         ; DATA: the same, writable
  dq 0x00af9b000000ffff         ; CODE64: L set
gdt_pointer:
  dw gdt_pointer - gdt - 1
  dd gdt
