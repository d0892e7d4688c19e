; Changes what CPL 0 can change, and reports what it finds there.
; SPDX-License-Identifier: MIT
;
; A report lies at 0xa000, in words of eight bytes: rax rbx rcx rdx rsi rbp rsp r8..r15, rflags,
; DR0..DR3 DR6 DR7, CR0 CR2 CR3 CR4 CR8, EFER, FS base, GS base, kernel GS base, ds es fs gs ss cs,
; GDT and IDT as stored, task register, local table, how much other memory is not zero; then, at
; 0xa200, FXSAVE64; at 0xb000, from look_wide, XSAVE64 and, at 0xbff8, XCR0.
;
; report gives the same as a function does: the words, and from its byte 0x400 on FXSAVE64.
;
; The instructions of look and of most soils are such as KVM's own emulator knows, because one host
; runs CPL 0 by it.
%include "virtine.inc"

REPORT equ 0xa000
WIDE_REPORT equ 0xb000
MEMORY_BEGIN equ 0x10000        ; the image, report, tables and stack lie below
MEMORY_END equ 0x14000
FRAME_REPORT equ VIRTINE_FRAME + 8
REPORT_SIZE equ 4080
%ifndef LEAVE_PORT
LEAVE_PORT equ 0x10             ; that of virtine_done makes functions of all that follow
%endif
PATTERN equ 0xa5a5a5a5a5a5a5a5
EFER equ 0xc0000080
FS_BASE equ 0xc0000100
GS_BASE equ 0xc0000101

section .text

%macro keep 1                   ; REGISTER: the next word of the report
  mov [edi], %1
  add edi, 8
%endmacro
%macro keep_control 1
  mov rax, %1
  keep rax
%endmacro
%macro keep_msr 1
  mov ecx, %1
  rdmsr
  shl rdx, 32
  or rax, rdx
  keep rax
%endmacro
%macro keep_selector 1
  mov eax, %1
  keep rax
%endmacro

; bytes<4080>()
virtine_export report, "y4080()"
  lea edi, [edi + 8]            ; keeps the flags
; Called with rdi = REPORT; ends with `out LEAVE_PORT, al`.
virtine_export look, "v()"
  keep rax
  keep rbx
  keep rcx
  keep rdx
  keep rsi
  keep rbp
  keep rsp
  keep r8
  keep r9
  keep r10
  keep r11
  keep r12
  keep r13
  keep r14
  keep r15
  mov rsp, 0x8000
  pushfq
  pop rax
  keep rax
  keep_control dr0
  keep_control dr1
  keep_control dr2
  keep_control dr3
  keep_control dr6
  keep_control dr7
  keep_control cr0
  keep_control cr2
  keep_control cr3
  keep_control cr4
  keep_control cr8
  keep_msr EFER
  keep_msr FS_BASE
  keep_msr GS_BASE
  swapgs
  keep_msr GS_BASE
  swapgs
  keep_selector ds
  keep_selector es
  keep_selector fs
  keep_selector gs
  keep_selector ss
  keep_selector cs
  sgdt [edi]
  add edi, 16
  sidt [edi]
  add edi, 16
  xor eax, eax
  str eax
  keep rax
  sldt eax
  keep rax
  mov esi, MEMORY_BEGIN
  xor eax, eax
.next:
  cmp qword [esi], 0
  je .clean
  inc eax
.clean:
  add esi, 512
  cmp esi, MEMORY_END
  jb .next
  keep rax
  mov rax, cr0
  and eax, ~0xc                 ; TS and EM would keep the next from running
  mov cr0, rax
  fxsave64 [abs REPORT + 0x200]
  cmp edi, REPORT
  jae .by_hand
  mov esi, REPORT + 0x200
  mov edi, FRAME_REPORT + 0x400
  mov ecx, 512 / 8
  rep movsq
  mov qword [abs VIRTINE_FRAME], REPORT_SIZE
.by_hand:
  out LEAVE_PORT, al
  hlt

; The rest, where XSAVE runs.
virtine_export look_wide, "v()"
  xor ecx, ecx
  xgetbv
  mov [abs WIDE_REPORT + 0xff8], eax
  xor edx, edx
  xsave64 [abs WIDE_REPORT]
  mov qword [abs WIDE_REPORT + 512], 0  ; what the processor knows to be in use may differ
  out LEAVE_PORT, al
  hlt

; Each changes one kind of state and ends with `out LEAVE_PORT, al`.
virtine_export soil_memory, "v()"
  mov rax, PATTERN
  mov edi, MEMORY_BEGIN
.next:
  mov [edi], rax
  add edi, 512
  cmp edi, MEMORY_END
  jb .next
  mov [abs 0x4ff8], rax             ; the page tables, last entries
  mov [abs 0x6ff8], rax
  mov [virtine_entry_look], rax               ; and the code
  jmp leave_guest

virtine_export soil_registers, "v()"
  mov rax, PATTERN
  mov rbx, rax
  mov rcx, rax
  mov rdx, rax
  mov rsi, rax
  mov rbp, rax
  mov r8, rax
  mov r9, rax
  mov r10, rax
  mov r11, rax
  mov r12, rax
  mov r13, rax
  mov r14, rax
  mov r15, rax
  mov rsp, 0x7000
  push 0x244cd7
  popfq
  jmp leave_guest

virtine_export soil_debug, "v()"
  mov ecx, 0x0f0f0700           ; kinds and lengths of breakpoints that are off
set_debug:
  mov eax, 0x12345000
  mov dr0, rax
  mov dr1, rax
  mov dr2, rax
  mov dr3, rax
  mov eax, 0xffff0ff5
  mov dr6, rax
  mov dr7, rcx
  jmp leave_guest

virtine_export soil_breakpoints, "v()"
  mov ecx, 0x0f0f07aa           ; the same, on; nothing here meets them
  jmp set_debug

virtine_export soil_bases, "v()"
  mov eax, 0x5a5a0000
  xor edx, edx
  mov ecx, GS_BASE
  wrmsr
  swapgs
  mov eax, 0x5a5b0000
  wrmsr
  mov ecx, FS_BASE
  wrmsr
  jmp leave_guest

virtine_export soil_selectors, "v()"
  xor eax, eax
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  mov ss, eax
  jmp leave_guest

virtine_export soil_tables, "v()"
  lgdt [table]
  lidt [table]
  jmp leave_guest

; All that has a descriptor, with other bases and limits.
virtine_export soil_descriptors, "v()"
  lgdt [small_table]
  mov eax, 0x08
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  mov eax, 0x10
  lldt ax
  mov eax, 0x20
  ltr ax
  jmp leave_guest

; Leaves in the shadow of an instruction that holds interrupts back.
virtine_export soil_shadow, "v()"
  cli
  mov eax, ss
  sti
  out LEAVE_PORT, al
  hlt
virtine_export soil_stack_shadow, "v()"
  mov eax, ss
  mov ss, eax
  out LEAVE_PORT, al
  hlt

virtine_export soil_control, "v()"
  mov rax, 0x123456789
  mov cr2, rax
  mov rax, cr0
  and eax, ~(1 << 16 | 1 << 5 | 1 << 1)  ; WP, NE, MP
  or eax, 1 << 3                         ; TS
  mov cr0, rax
  mov rax, cr4
  or eax, 1 << 2 | 1 << 7                ; TSD, PGE
  and eax, ~(1 << 10)                    ; OSXMMEXCPT
  mov cr4, rax
  jmp leave_guest

; Where the processor virtualises the global interrupt flag.
virtine_export soil_interrupt_flag, "v()"
  clgi
  jmp leave_guest

virtine_export soil_priority, "v()"
  mov eax, 5
  mov cr8, rax
  jmp leave_guest

virtine_export soil_efer, "v()"
  mov ecx, EFER
  rdmsr
  xor eax, 1 << 11 | 1          ; NXE, SCE
  wrmsr
  jmp leave_guest

virtine_export soil_vectors, "v()"
  fxrstor64 [vectors]
  jmp leave_guest

virtine_export soil_wide, "v()"
  xor ecx, ecx
  xgetbv
  test al, 4
  jz leave_guest
  fxrstor64 [vectors]
  vinsertf128 ymm0, ymm0, xmm0, 1
  vmovdqa ymm15, ymm0
  not al
  test al, 0xe0
  jnz leave_guest
  vpbroadcastq zmm31, xmm0
  vmovdqa64 zmm0, zmm31
  mov eax, 0xa5a5
  kmovw k1, eax
  jmp leave_guest

virtine_export soil_xcr0, "v()"
  xor ecx, ecx
  xor edx, edx
  mov eax, 1
  xsetbv
  jmp leave_guest

; Ends in a triple fault, having lost the tables that exceptions need.
virtine_export triple_fault, "v()"
  mov rax, PATTERN
  mov [abs 0x10000], rax
  mov rbx, rax
  lidt [nothing]
  ud2

; Leaves by a store to where there is no memory, which is two exits.
virtine_export store_outside, "v()"
  movups [abs 0x180000], xmm0
  jmp leave_guest

leave_guest:
  out LEAVE_PORT, al
  hlt

align 16
descriptors:
  dq 0
  dq 0x00c0931234500fff         ; 0x08: data, base 0x12345
  dq 0x0000820090000027, 0      ; 0x10: a local table
  dq 0x00008900a0000067, 0      ; 0x20: a task state
small_table:
  dw small_table - descriptors - 1
  dq descriptors
table:
  dw 0x17
  dq 0x9000
nothing:
  dw 0
  dq 0
align 16
vectors:
  dw 0x007b, 0x3800, 0x00ff, 0x0123     ; control, status, tags, opcode
  dq 0x4567, 0x89ab                     ; instruction and data pointer
  dd 0xe000, 0xffff                     ; MXCSR
  times 8 dq PATTERN, 0x4000            ; x87
  times 32 dq PATTERN                   ; XMM
  times 12 dq 0
