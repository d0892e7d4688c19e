; Every way in which an instruction of a bare guest can leave it half done, the same in every mode.
; Must not know what each comes to; the tests say that.
; SPDX-License-Identifier: MIT
;
; The machine has 64 KiB of memory; there is none at 0x20000.
%include "virtine.inc"

END equ 0x10000
OUTSIDE equ 0x20000
PORT equ 0x55

section .text

%if VIRTINE_BITS == 64
  %define word_a rax
  %define word_b rbx
  %define word_c rcx
  %define word_sp rsp
  %define word_si rsi
  %define word_di rdi
%elif VIRTINE_BITS == 32
  %define word_a eax
  %define word_b ebx
  %define word_c ecx
  %define word_sp esp
  %define word_si esi
  %define word_di edi
%else
  %define word_a ax
  %define word_b bx
  %define word_c cx
  %define word_sp sp
  %define word_si si
  %define word_di di
%endif

; lead SEGMENT, REGISTER, ADDRESS: makes SEGMENT:REGISTER lead to ADDRESS.
%macro lead 3
%if VIRTINE_BITS == 16
  mov ax, (%3) >> 4 & 0xf000
  mov %1, ax
  mov %2, (%3) & 0xffff
%else
  mov %2, %3
%endif
%endmacro

; one NAME, ADDRESS, INSTRUCTION: with ds:bx = ADDRESS.
%macro one 3+
virtine_export %1, "v()"
  lead ds, word_b, %2
  mov eax, 0x5a5a5a5a
  mov edx, eax
  mov ecx, eax
  %3
  jmp leave
%endmacro

; two NAME, ADDRESS, FIRST, INSTRUCTION: the same with an instruction before.
%macro two 4+
virtine_export %1, "v()"
  lead ds, word_b, %2
  mov eax, 0x5a5a5a5a
  %3
  %4
  jmp leave
%endmacro

; string NAME, FROM, TO, COUNT, INSTRUCTION: with ds:si = FROM, es:di = TO, dx = PORT.
%macro string 5+
virtine_export %1, "v()"
  lead ds, word_si, %2
  lead es, word_di, %3
  mov word_c, %4
  mov dx, PORT
  xor eax, eax
  cld
  %5
  jmp leave
%endmacro

; Ports.
one out8, 0xc000, out PORT, al
one out16, 0xc000, out PORT, ax
one out32, 0xc000, out PORT, eax
one in8, 0xc000, in al, PORT
one in16, 0xc000, in ax, PORT
one in32, 0xc000, in eax, PORT
%macro port_strings 2           ; SUFFIX, COUNT
string outsb%1, 0xc000, 0xc000, %2, rep outsb
string outsw%1, 0xc000, 0xc000, %2, rep outsw
string outsd%1, 0xc000, 0xc000, %2, rep outsd
string insb%1, 0xc000, 0xc000, %2, rep insb
string insw%1, 0xc000, 0xc000, %2, rep insw
string insd%1, 0xc000, 0xc000, %2, rep insd
%endmacro
port_strings _1, 1
port_strings _100, 100
port_strings _many, 5000
string insb_outside, 0xc000, OUTSIDE, 100, rep insb
string outsb_outside, OUTSIDE, 0xc000, 100, rep outsb
string insd_across, 0xc000, END - 6, 100, rep insd

; Loads and stores where there is no memory, over the end of it, and over the border of two pages.
%macro accesses 2               ; SUFFIX, ADDRESS
one load8%1, %2, mov al, [word_b]
one load16%1, %2, mov ax, [word_b]
one load32%1, %2, mov eax, [word_b]
one store8%1, %2, mov [word_b], al
one store16%1, %2, mov [word_b], ax
one store32%1, %2, mov [word_b], eax
one load_xmm%1, %2, movups xmm3, [word_b]
one store_xmm%1, %2, movups [word_b], xmm3
one load_ymm%1, %2, vmovups ymm3, [word_b]
one store_ymm%1, %2, vmovups [word_b], ymm3
one load_zmm%1, %2, vmovups zmm3, [word_b]
one store_zmm%1, %2, vmovups [word_b], zmm3
one load_mmx%1, %2, movq mm3, [word_b]
one store_mmx%1, %2, movq [word_b], mm3
one load_x87%1, %2, fld tword [word_b]
one store_x87%1, %2, fstp tword [word_b]
one add%1, %2, add [word_b], eax
one add_to%1, %2, add eax, [word_b]
one lock_add%1, %2, lock add [word_b], eax
one exchange%1, %2, xchg [word_b], eax
one compare_exchange%1, %2, lock cmpxchg [word_b], edx
one compare_exchange8%1, %2, lock cmpxchg8b [word_b]
one push%1, %2, push word_a
one push_memory%1, %2, push word [word_b]
one pop_memory%1, %2, pop word [word_b]
one call_memory%1, %2, call [word_b]
one jump_memory%1, %2, jmp [word_b]
one load_selector%1, %2, mov fs, [word_b]
one store_selector%1, %2, mov [word_b], ds
one load_table%1, %2, lidt [word_b]
one store_table%1, %2, sidt [word_b]
one load_status%1, %2, lmsw [word_b]
one fxsave%1, %2, fxsave [word_b]
one fxrstor%1, %2, fxrstor [word_b]
one xsave%1, %2, xsave [word_b]
one xrstor%1, %2, xrstor [word_b]
one load_mxcsr%1, %2, ldmxcsr [word_b]
one store_environment%1, %2, fnstenv [word_b]
one flush%1, %2, clflush [word_b]
one bit_set%1, %2, bts [word_b], eax
%if VIRTINE_BITS == 64
one load64%1, %2, mov rax, [word_b]
one store64%1, %2, mov [word_b], rax
one compare_exchange16%1, %2, lock cmpxchg16b [word_b]
%endif
virtine_export stack%1, "v()"
  lead ss, word_sp, %2
  push word_a
  pop word_a
  jmp leave
virtine_export iret%1, "v()"
  lead ss, word_sp, %2
%if VIRTINE_BITS == 64
  iretq
%else
  iret
%endif
virtine_export return%1, "v()"
  lead ss, word_sp, %2
  ret
%endmacro
accesses _outside, OUTSIDE
accesses _end, END - 2
accesses _border, OUTSIDE + 0xffe

; String instructions of few parts and of many.
%macro strings 2                ; SUFFIX, COUNT
string movs8_from%1, OUTSIDE, 0xc000, %2, rep movsb
string movs32_from%1, OUTSIDE, 0xc000, %2, rep movsd
string movs8_to%1, 0xc000, OUTSIDE, %2, rep movsb
string movs32_to%1, 0xc000, OUTSIDE, %2, rep movsd
string movs8_both%1, OUTSIDE, OUTSIDE + 0x4000, %2, rep movsb
string movs32_both%1, OUTSIDE, OUTSIDE + 0x4000, %2, rep movsd
string lods8%1, OUTSIDE, 0xc000, %2, rep lodsb
string lods32%1, OUTSIDE, 0xc000, %2, rep lodsd
string stos8%1, 0xc000, OUTSIDE, %2, rep stosb
string stos32%1, 0xc000, OUTSIDE, %2, rep stosd
string cmps8_from%1, OUTSIDE, 0xc800, %2, repe cmpsb
string cmps8_to%1, 0xc800, OUTSIDE, %2, repe cmpsb
string cmps32_both%1, OUTSIDE, OUTSIDE + 0x4000, %2, repe cmpsd
string scas8%1, 0xc000, OUTSIDE, %2, repe scasb
string scas32%1, 0xc000, OUTSIDE, %2, repe scasd
%endmacro
strings _1, 1
strings _5, 5
strings _64, 64
; As many as KVM does without going back to the guest, and more behind.
strings _many, 0x3fff
string movs_across, END - 6, 0xc000, 100, rep movsd
virtine_export movs_back, "v()"
  lead ds, word_si, OUTSIDE + 100
  lead es, word_di, 0xc100
  mov word_c, 100
  std
  rep movsb
  jmp leave

; What ends otherwise.
one halt, 0xc000, hlt
two halt_enabled, 0xc000, {sti}, hlt
two out_in_shadow, 0xc000, {sti}, out PORT, al
virtine_export out_after_stack_switch, "v()"
  mov ecx, ss
  mov ss, ecx
  out PORT, al
  jmp leave
one undefined, 0xc000, ud2
one breakpoint, 0xc000, int3
one interrupt, 0xc000, int 0x80
one debug_trap, 0xc000, db 0xf1
two divide, 0xc000, {xor ecx, ecx}, div ecx
one resume_from_smm, 0xc000, rsm
one hypercall_intel, 0xc000, vmcall
one hypercall_amd, 0xc000, vmmcall
one wait_for_store, 0xc000, monitor
one invalidate, 0xc000, wbinvd
one software_prefetch, OUTSIDE, prefetcht0 [word_b]
virtine_export jump_outside, "v()"
%if VIRTINE_BITS == 16
  jmp 0x2000:0
%else
  mov ebx, OUTSIDE
  jmp word_b
%endif
virtine_export triple_fault, "v()"
  xor eax, eax
  mov ds, eax
  mov word_b, nothing
  lidt [word_b]
  ud2
virtine_export single_step, "v()"
%if VIRTINE_BITS == 64
  pushfq
  or dword [rsp], 0x100
  popfq
%elif VIRTINE_BITS == 32
  pushfd
  or dword [esp], 0x100
  popfd
%else
  pushf
  pop ax
  or ax, 0x100
  push ax
  popf
%endif
  out PORT, al
  jmp leave
virtine_export access_debug, "v()"
  mov eax, 0x2400               ; GD: the next access to a debug register is a #DB
%if VIRTINE_BITS == 64
  mov dr7, rax
  mov dr0, rax
%else
  mov dr7, eax
  mov dr0, eax
%endif
  jmp leave
virtine_export loop_for_ever, "v()"
.again:
  jmp .again

leave:
  out 0x56, al
.again:
  hlt
  jmp .again
nothing:
  dw 0
  dq 0
