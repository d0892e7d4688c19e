; Leaves something in every place that CPL 3 can reach, and reports what it finds there.
; SPDX-License-Identifier: MIT
;
; A report is the data of a bytes<4080> result at the start of the frame. Offsets from the frame:
;     8  rax rbx rcx rdx rsi rdi rbp rsp r8..r15
;   136  rflags
;   144  ds es fs gs ss cs, two bytes each
;   160  what fs: and gs: have at the address of `probe`, eight bytes each
;   176  FS base, GS base
;   192  PKRU, MXCSR, four bytes each; XCR0, eight
;   208  FNSTENV
;   256  FXSAVE64
;  1024  XSAVE64 of what XCR0 has beyond x87 and SSE
;  3840  how many words are not as they should be: data, bss, arguments, stack
;  3872  the six words of the stack below the return address, and that address
;  3936  how many words of the tiles and their configuration (AMX) are not 0
%include "virtine.inc"

; What the processor may have; the host finds out by trying.
HAS_XSAVE equ 1
HAS_FSGSBASE equ 2
HAS_PKRU equ 4
HAS_TILES equ 32
; How soil leaves: by an `out` of its own, or by the one that a return goes to; with a stack pointer
; that is none, or with the one of a return.
AT_RETURN equ 8
WITH_STACK equ 16

HAS_CMPXCHG16B equ 1 << 13      ; in ECX of CPUID leaf 1; the first x86-64 processors lack it

REPORT_SIZE equ 4080
XSTATE_MASK equ 0xe4            ; AVX, AVX-512
TILES_MASK equ 0x60000          ; TILECFG and TILEDATA, and where they lie in an XSAVE area
TILES_OFFSET equ 2752
TILES_END equ 11008
PATTERN equ 0xa5a5a5a5a5a5a5a5
INITIAL equ 0x1111111111111111
DATA_WORDS equ 3 * 512
BSS_WORDS equ 12 * 512

section .rodata
align 16
probe: dq 0x0123456789abcdef
stuff: dt 3.25
zero: dd 0
control_word: dw 0x007b         ; 24-bit precision, division by zero not masked
mxcsr: dd 0xe07f                ; all flags, no masks, truncate, FZ, DAZ
align 64
tile_configuration:             ; palette 1, eight tiles of 16 rows of 64 bytes
  db 1
  times 15 db 0
  times 8 dw 64
  times 16 db 0
  times 8 db 16
  times 8 db 0
tile_rows: times 128 dq 0xa5a5a5a5a5a5a5a5

section .data
align 4096
data: times DATA_WORDS dq INITIAL

section .bss
align 4096
bss: resq BSS_WORDS
fresh equ bss + 5 * 4096        ; six pages that carry writes to for the first time
kept equ bss + 11 * 4096
align 4096
tiles: resb 3 * 4096

section .text

%macro expand 2                 ; MACRO, LAST: MACRO 1 ... MACRO LAST
%assign number 1
%rep %2
  %1 number
%assign number number + 1
%endrep
%endmacro

%macro copy_xmm 1
  movdqa xmm%1, xmm0
%endmacro
%macro copy_ymm 1
  vmovdqa ymm%1, ymm0
%endmacro
%macro copy_zmm 1
  vmovdqa64 zmm%1, zmm0
%endmacro
%macro copy_mask 1
  kmovw k%1, eax
%endmacro
%macro load_tile 1
  tileloadd tmm%1, [rcx + rax]
%endmacro

; Writes the general registers to the report at rdi.
%macro store_registers 0
  mov [rdi + 8], rax
  mov [rdi + 16], rbx
  mov [rdi + 24], rcx
  mov [rdi + 32], rdx
  mov [rdi + 40], rsi
  mov [rdi + 48], rdi
  mov [rdi + 56], rbp
  mov [rdi + 64], rsp
  mov [rdi + 72], r8
  mov [rdi + 80], r9
  mov [rdi + 88], r10
  mov [rdi + 96], r11
  mov [rdi + 104], r12
  mov [rdi + 112], r13
  mov [rdi + 120], r14
  mov [rdi + 128], r15
%endmacro

; r15d = what the processor has. Sets all vector state; changes rax and rcx.
soil_vectors:
  fninit
%rep 8
  fld tword [stuff]
%endrep
  fldcw [control_word]
  fdiv dword [zero]             ; leaves an exception pending
  mov rax, PATTERN
  movq xmm0, rax
  punpcklqdq xmm0, xmm0
  expand copy_xmm, 15
  test r15d, HAS_XSAVE
  jz .no_avx
  xor ecx, ecx
  xgetbv
  test al, 4
  jz .no_avx
  vinsertf128 ymm0, ymm0, xmm0, 1
  expand copy_ymm, 15
  not al
  test al, 0xe0
  jnz .no_avx
  vpbroadcastq zmm0, xmm0
  expand copy_zmm, 31
  mov eax, 0xa5a5
  kmovw k0, eax
  expand copy_mask, 7
.no_avx:
  test r15d, HAS_TILES
  jz .no_tiles
  ldtilecfg [tile_configuration]
  lea rcx, [tile_rows]
  mov eax, 64
  load_tile 0
  expand load_tile, 7
.no_tiles:
  ldmxcsr [mxcsr]
  ret

; r15d = what the processor has. Sets data selectors, bases and PKRU; changes rax, rcx and rdx.
soil_segments:
  mov eax, cs
  mov ds, eax
  mov fs, eax
  xor eax, eax
  mov es, eax
  mov gs, eax
  test r15d, HAS_FSGSBASE
  jz .no_base
  mov rax, 0x5a5a5a5a5a5a
  wrfsbase rax
  wrgsbase rax
.no_base:
  test r15d, HAS_PKRU
  jz .no_pkru
  xor ecx, ecx
  xor edx, edx
  mov eax, 0x5a5a5a50           ; key 0, which all memory here has, stays open
  wrpkru
.no_pkru:
  ret

; u32(u32 has, u64 arguments size, u64 stack size): writes the pattern everywhere and leaves without
; returning.
virtine_export soil, "u4(u4,u8,u8)"
  mov r15d, [rdi + 4]
  mov r14, [rdi + 8]
  mov r13, [rdi + 16]
  lea r12, [rsp + 8]
  mov rbx, [rsp]
  mov rdx, rdi
  mov rax, PATTERN
  lea rdi, [data]
  mov ecx, DATA_WORDS + BSS_WORDS
  rep stosq
  mov rdi, rdx
  mov rcx, r14
  shr rcx, 3
  rep stosq
  mov rdi, r12
  sub rdi, r13
  mov rcx, r13
  shr rcx, 3
  rep stosq

  call soil_vectors
  call soil_segments
  lea rax, [.out]
  test r15d, AT_RETURN
  cmovnz rax, rbx
  mov [kept], rax
  mov rax, PATTERN
  test r15d, WITH_STACK
  cmovnz rax, r12
  mov [kept + 8], rax
  push 0x244cd7                 ; ID AC NT OF DF SF ZF AF PF CF
  popfq
  mov rax, PATTERN
  mov rbx, rax
  mov rcx, rax
  mov rdx, rax
  mov rsi, rax
  mov rdi, rax
  mov rbp, rax
  mov rsp, [kept + 8]
  mov r8, rax
  mov r9, rax
  mov r10, rax
  mov r11, rax
  mov r12, rax
  mov r13, rax
  mov r14, rax
  mov r15, rax
  jmp [kept]
.out:
  out VIRTINE_DONE_PORT, eax
  ud2

; Reports all but memory, general registers and tiles to rdi; r15d = what the processor has. Changes
; rax, rcx, rdx and the x87 control word.
report_others:
  mov [rdi + 144], ds
  mov [rdi + 146], es
  mov [rdi + 148], fs
  mov [rdi + 150], gs
  mov [rdi + 152], ss
  mov [rdi + 154], cs
  test r15d, HAS_FSGSBASE
  jz .no_base
  rdfsbase rax
  mov [rdi + 176], rax
  rdgsbase rax
  mov [rdi + 184], rax
.no_base:
  test r15d, HAS_PKRU
  jz .no_pkru
  xor ecx, ecx
  rdpkru
  mov [rdi + 192], eax
.no_pkru:
  stmxcsr [rdi + 196]
  fnstenv [rdi + 208]
  fxsave64 [rdi + 256]
  test r15d, HAS_XSAVE
  jz .no_xsave
  xor ecx, ecx
  xgetbv
  mov [rdi + 200], eax
  mov [rdi + 204], edx
  and eax, XSTATE_MASK
  xor edx, edx
  xsave64 [rdi + 1024]
.no_xsave:
  ret

; rdi to rsi = memory, rax = what each word of it should be. Returns in rcx how many are not; changes
; rdi.
count_others:
  xor ecx, ecx
  jmp .test
.next:
  cmp [rdi], rax
  je .same
  inc rcx
.same:
  add rdi, 8
.test:
  cmp rdi, rsi
  jb .next
  ret

; bytes<4080>(u32 has, u64 arguments size, u64 stack size): a report.
virtine_export look, "y4080(u4,u8,u8)"
  store_registers
  pushfq
  pop rax
  mov [rdi + 136], rax
  mov rbp, rdi
  mov r15d, [rbp + 4088]
  mov r14, [rbp + 4096]
  mov r13, [rbp + 4104]
  lea rax, [probe]
  mov rcx, [fs:rax]
  mov [rdi + 160], rcx
  mov rcx, [gs:rax]
  mov [rdi + 168], rcx
  call report_others
  mov qword [rsp - 8], 0        ; where this function has pushed
  mov qword [rbp], REPORT_SIZE

  test r15d, HAS_TILES
  jz .no_tiles
  mov eax, TILES_MASK
  xor edx, edx
  xsave64 [tiles]
  xor eax, eax
  lea rdi, [tiles + TILES_OFFSET]
  lea rsi, [tiles + TILES_END]
  call count_others
  mov [rbp + 3936], rcx
.no_tiles:
  mov rax, INITIAL
  lea rdi, [data]
  lea rsi, [rdi + DATA_WORDS * 8]
  call count_others
  mov [rbp + 3840], rcx
  xor eax, eax
  lea rdi, [bss]
  lea rsi, [rdi + BSS_WORDS * 8]
  call count_others
  mov [rbp + 3848], rcx
  lea rdi, [rbp + 4112]
  lea rsi, [rbp + r14]
  call count_others
  mov [rbp + 3856], rcx
  lea rsi, [rsp - 48]
  lea rdi, [rbp + 3872]
  mov ecx, 7
  rep movsq
  lea rdi, [rsp + 8]
  sub rdi, r13
  lea rsi, [rsp - 48]
  call count_others
  mov [rbp + 3864], rcx
  ret

; bytes<4080>(u32 has): sets registers, then writes to pages that were never written; reports
; registers after that, and the flags in r8.
virtine_export carry, "y4080(u4)"
  mov [kept], rdi
  mov [kept + 8], rsp
  mov r15d, [rdi + 4088]
  mov eax, 1
  cpuid
  and ecx, HAS_CMPXCHG16B
  mov [kept + 24], ecx
  call soil_vectors
  call soil_segments
  push 0x200cd5                 ; ID OF DF SF ZF AF PF CF
  popfq
  lea rsp, [rsp - 2 * 4096]
  mov rax, 0xa1a2a3a4a5a6a7a8
  mov rbx, 0xb1b2b3b4b5b6b7b8
  mov rcx, 1024
  mov rdx, 0xd1d2d3d4d5d6d7d8
  mov rbp, 0xe1e2e3e4e5e6e7e8
  mov r8, 0x0801020304050607
  mov r9, 0x0901020304050607
  mov r10, 0x1001020304050607
  mov r11, 0x1101020304050607
  mov r12, 0x1201020304050607
  mov r13, 0x1301020304050607
  mov r14, 0x1401020304050607
  lea rdi, [fresh + 2 * 4096 - 8]
  lea rsi, [fresh + 3 * 4096 - 8]
  push rbx                      ; on a page of the stack of its own
  rep stosq                     ; down, over two pages
  movups [rsi], xmm5            ; over the border of two pages
  pushfq
  pop r8
  lock xadd [fresh + 4 * 4096 + 16], rdx
  test dword [kept + 24], HAS_CMPXCHG16B
  jz .shorter
  cmpxchg16b [fresh + 5 * 4096]
  jmp .exchanged
.shorter:
  cmpxchg8b [fresh + 5 * 4096]
.exchanged:
  mov [kept + 16], rdi
  mov rdi, [kept]
  store_registers
  mov rax, [kept + 16]
  mov [rdi + 48], rax
  mov rsp, [kept + 8]
  call report_others
  mov qword [rdi], REPORT_SIZE
  ret

; u32(u32 register, u32 selector): loads a segment register and leaves. cs ss ds es fs gs = 0..5.
virtine_export load_selector, "u4(u4,u4)"
  mov ecx, [rdi + 4]
  mov eax, [rdi + 8]
  mov [rdi], eax
  cmp ecx, 1
  jb .cs
  je .ss
  cmp ecx, 3
  jb .ds
  je .es
  cmp ecx, 5
  jb .fs
  mov gs, eax
  jmp .leave
.cs:
  push rax
  lea rcx, [.leave]
  push rcx
  retfq
.ss:
  mov ss, eax
  jmp .leave
.ds:
  mov ds, eax
  jmp .leave
.es:
  mov es, eax
  jmp .leave
.fs:
  mov fs, eax
.leave:
  out VIRTINE_DONE_PORT, eax    ; the same bytes in 16 and 32-bit code
  ud2
