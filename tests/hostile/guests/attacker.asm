; A guest that attacks: one label per attack, at the very instruction that is to fail, so that a
; report can be checked to the byte.
; Must not know what each attack comes to; the tests say that.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; ulong attack(ulong function, ulong a, ulong b, ulong c): runs what is at `function` with
; rdi = r8 = frame, rax = rsi = a, rdx = b, rcx = c. What it leaves in [r8] is the result, else 0.
virtine_export attack, "u8(u8,u8,u8,u8)"
  mov r11, [rdi + 8]
  mov rsi, [rdi + 16]
  mov rdx, [rdi + 24]
  mov rcx, [rdi + 32]
  mov rax, rsi
  mov r8, rdi
  jmp r11

; ulong good(ulong a, ulong b): a * b, plus what is not as it should be in what an attack could have
; changed: registers, flags, the witness, the zeros after it, the frame's page and the stack below.
virtine_export good, "u8(u8,u8)"
  or rcx, rbx
  or rcx, rdx
  or rcx, rsi
  or rcx, rbp
  or rcx, r8
  or rcx, r9
  or rcx, r10
  or rcx, r11
  or rcx, r12
  or rcx, r13
  or rcx, r14
  or rcx, r15
  pushfq
  pop rdx
  and edx, 0x44500                ; TF, DF, NT and AC
  or rcx, rdx
  mov rdx, witness_value
  xor rdx, [witness]
  or rcx, rdx
  mov edx, constant_value
  xor rdx, [constant]
  or rcx, rdx
  mov rsi, zeros
  mov r9d, zeros_size / 8
.zeros:
  or rcx, [rsi]
  add rsi, 8
  dec r9d
  jnz .zeros
  lea rsi, [rdi + 24]
  mov r9d, (4096 - 24) / 8
.arguments:
  or rcx, [rsi]
  add rsi, 8
  dec r9d
  jnz .arguments
  lea rsi, [rsp - 4096]
  mov r9d, (4096 - 16) / 8        ; what was pushed just above is not zero
.stack:
  or rcx, [rsi]
  add rsi, 8
  dec r9d
  jnz .stack
  mov rax, [rdi + 8]
  imul rax, [rdi + 16]
  add rax, rcx
  mov [rdi], rax
  ret

; void spans(span<ulong> first, span<ulong> second, ulong a): overwrites both references in its own
; frame with a, then the first element of each span that it was given.
virtine_export spans, "v([=u8],[=u8],u8)"
  mov rsi, [rdi]
  mov rdx, [rdi + 16]
  mov rax, [rdi + 32]
  mov [rdi], rax
  mov [rdi + 8], rax
  mov [rdi + 16], rax
  mov [rdi + 24], rax
  mov qword [rsi], 11
  mov qword [rdx], 22
  ret

; bool flag(ulong a), color paint(ulong a), void flags(span<bool>, ulong a): give the byte a.
virtine_export flag, "b(u8)"
  mov al, [rdi + 8]
  mov [rdi], al
  ret
virtine_export paint, "eu4(u8)"
  mov eax, [rdi + 8]
  mov [rdi], eax
  ret
virtine_export flags, "v([=b],u8)"
  mov rsi, [rdi]
  mov al, [rdi + 16]
  mov [rsi], al
  mov [rsi + 1], al
  ret

; bytes<8> text(ulong a): claims to hold a bytes.
virtine_export text, "y8(u8)"
  mov rax, [rdi + 16]
  mov [rdi], rax
  mov qword [rdi + 8], -1
  ret

; void flip(span<bool> all, uchar stays): returns, or says in the mailbox of a session that the call
; has been answered, then goes on changing the last of them between false and a bool that is none.
virtine_export flip, "v([=b],u1)"
  mov rsi, [rdi]
  add rsi, [rdi + 8]
  movzx edx, byte [rdi + 16]
  test edx, edx
  jnz .stay
  ret
.stay:
  and rdi, -4096
  mov byte [rsi - 1], 0           ; the first write to a page takes its time
  mov rdx, [rdi]
  mov [rdi + 8], rdx
.again:
  mov byte [rsi - 1], 0
  pause
  mov byte [rsi - 1], 2
  pause
  jmp .again

%macro label 1
global %1:function
%1:
%endmacro

; What fails at its first instruction.
%macro attack 1
align 16
label %1
%endmacro

; What needs steps before: `attack NAME` becomes `before NAME ... now NAME`.
%macro before 1
align 16
label before_%1
%endmacro
%macro now 1
label %1
%endmacro

; One instruction, by its bytes where this assembler might not know it.
%macro instruction 2+
attack %1
  %2
  ret
%endmacro
%macro bytes 2+
attack %1
  db %2
  ret
%endmacro

; Memory.

attack read
  mov rax, [rsi]
  mov [r8], rax
  ret
attack write
  mov [rsi], rdx
  ret
attack add_to
  add qword [rsi], 1
  ret
attack call_it
  call rsi
  ret
attack jump_to
  jmp rsi
before return_to
  push rsi
now return_to
  ret
attack recurse
  call recurse
  ret
before huge_frame
  sub rsp, rsi
now huge_frame
  mov [rsp], rax
  add rsp, rsi
  ret
before push_at
  mov rsp, rsi
now push_at
  push rax
  ret
before write_through_rbp
  mov rbp, rsi
now write_through_rbp
  mov [rbp], rax
  ret
; Writes b to every page from a up to c, then fails or returns.
before write_pages
.next:
  mov [rsi], rdx
  mov [rsi + 8], rdx
  mov [rsi + 4080], rdx
  mov [rsi + 4088], rdx
  add rsi, 4096
  cmp rsi, rcx
  jb .next
now write_pages
  ud2
before write_pages_and_return
  mov rax, [rsp]
.next:
  mov [rsi], rdx
  mov [rsi + 8], rdx
  mov [rsi + 4080], rdx
  add rsi, 4096
  cmp rsi, rcx
  jb .next
  jmp rax
; Puts b where a stack could be read again, and in the witness, and returns.
attack spoil
  mov rax, witness
  mov [rax], rdx
  mov rax, zeros
  mov ecx, zeros_size / 8
.zeros:
  mov [rax], rdx
  add rax, 8
  dec ecx
  jnz .zeros
  mov ecx, 500
  mov rax, rsp
.stack:
  sub rax, 8
  mov [rax], rdx
  dec ecx
  jnz .stack
  ret

; Gives the code segment's selector after a write.
attack level_after_write
  mov rax, zeros
  mov [rax], rax
  mov eax, cs
  mov [r8], rax
  ret
before hlt_after_write
  mov rax, zeros + 4096
  mov [rax], rax
now hlt_after_write
  hlt
  ret

; Arithmetic and opcodes.

before divide_by_zero
  xor ecx, ecx
now divide_by_zero
  div rcx
  ret
before divide_overflow
  mov rax, 0x8000000000000000
  cqo
  mov rcx, -1
now divide_overflow
  idiv rcx
  ret
before x87_error
  push 0x37b                      ; zero divide unmasked
  fldcw [rsp]
  pop rax
  fld1
  fldz
  fdivp
now x87_error
  fwait
  ret
before sse_error
  push 0x1d80                     ; zero divide unmasked
  ldmxcsr [rsp]
  pop rax
  mov eax, 1
  cvtsi2sd xmm0, eax
  xorpd xmm1, xmm1
now sse_error
  divsd xmm0, xmm1
  ret
; Leave with an x87 error that waits to be raised, and with all SSE errors unmasked.
attack leave_x87_error
  push 0x37b
  fldcw [rsp]
  fld1
  fldz
  fdivp
  mov dword [rsp], 0
  ldmxcsr [rsp]
  out VIRTINE_DONE_PORT, eax
attack undefined
  ud2
  ret
bytes undefined_lock, 0xf0, 0x90
bytes undefined_ud1, 0x0f, 0xb9, 0xc0
bytes undefined_into, 0xce
bytes undefined_bound, 0x62, 0x00
bytes undefined_lcall, 0x9a, 0, 0, 0, 0, 0, 0
bytes undefined_push_cs, 0x0e
bytes undefined_salc, 0xd6
bytes undefined_rsm, 0x0f, 0xaa
bytes too_long, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90

; What only CPL 0 may do.

instruction hlt, hlt
instruction cli, cli
instruction sti, sti
instruction clts, clts
instruction wbinvd, wbinvd
instruction invd, invd
instruction write_cr0, mov cr0, rax
instruction read_cr0, mov rax, cr0
instruction write_cr3, mov cr3, rax
instruction read_cr3, mov rax, cr3
instruction write_cr4, mov cr4, rax
instruction read_cr4, mov rax, cr4
instruction write_cr8, mov cr8, rax
instruction write_dr0, mov dr0, rax
instruction write_dr7, mov dr7, rax
instruction read_dr7, mov rax, dr7
instruction wrmsr, wrmsr
instruction rdmsr, rdmsr
instruction lgdt, lgdt [r8]
instruction lidt, lidt [r8]
instruction lldt, lldt ax
instruction ltr, ltr ax
instruction lmsw, lmsw ax
instruction invlpg, invlpg [r8]
instruction invpcid, invpcid rax, [r8]
instruction xsetbv, xsetbv
instruction swapgs, swapgs
instruction sysexit, sysexit
instruction sysret, o64 sysret
bytes xsaves, 0x49, 0x0f, 0xc7, 0x28
bytes xrstors, 0x49, 0x0f, 0xc7, 0x18
bytes wbnoinvd, 0xf3, 0x0f, 0x09

; What a processor may have or not, and CPL 3 may use or not.

bytes monitor, 0x0f, 0x01, 0xc8
bytes mwait, 0x0f, 0x01, 0xc9
bytes monitorx, 0x0f, 0x01, 0xfa
bytes mwaitx, 0x0f, 0x01, 0xfb
bytes clac, 0x0f, 0x01, 0xca
bytes stac, 0x0f, 0x01, 0xcb
bytes encls, 0x0f, 0x01, 0xcf
bytes enclv, 0x0f, 0x01, 0xc0
bytes enclu, 0x0f, 0x01, 0xd7
bytes getsec, 0x0f, 0x37
bytes pconfig, 0x0f, 0x01, 0xc5
bytes wrmsrns, 0x0f, 0x01, 0xc6
bytes vmcall, 0x0f, 0x01, 0xc1
bytes vmlaunch, 0x0f, 0x01, 0xc2
bytes vmresume, 0x0f, 0x01, 0xc3
bytes vmxoff, 0x0f, 0x01, 0xc4
bytes vmfunc, 0x0f, 0x01, 0xd4
bytes vmxon, 0xf3, 0x41, 0x0f, 0xc7, 0x30
bytes vmclear, 0x66, 0x41, 0x0f, 0xc7, 0x30
bytes vmptrld, 0x41, 0x0f, 0xc7, 0x30
bytes vmread, 0x0f, 0x78, 0xc0
bytes vmwrite, 0x0f, 0x79, 0xc0
bytes invept, 0x66, 0x41, 0x0f, 0x38, 0x80, 0x00
bytes invvpid, 0x66, 0x41, 0x0f, 0x38, 0x81, 0x00
bytes vmmcall, 0x0f, 0x01, 0xd9
bytes vmgexit, 0xf3, 0x0f, 0x01, 0xd9
bytes vmrun, 0x0f, 0x01, 0xd8
bytes vmload, 0x0f, 0x01, 0xda
bytes vmsave, 0x0f, 0x01, 0xdb
bytes stgi, 0x0f, 0x01, 0xdc
bytes clgi, 0x0f, 0x01, 0xdd
bytes skinit, 0x0f, 0x01, 0xde
bytes invlpga, 0x0f, 0x01, 0xdf
bytes invlpgb, 0x0f, 0x01, 0xfe
bytes tlbsync, 0x0f, 0x01, 0xff
bytes pvalidate, 0xf2, 0x0f, 0x01, 0xff
bytes psmash, 0xf3, 0x0f, 0x01, 0xff
bytes rmpupdate, 0xf2, 0x0f, 0x01, 0xfe
bytes rmpadjust, 0xf3, 0x0f, 0x01, 0xfe
bytes rdpru, 0x0f, 0x01, 0xfd
bytes mcommit, 0xf3, 0x0f, 0x01, 0xfa
bytes hreset, 0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0x00
bytes ptwrite, 0xf3, 0x0f, 0xae, 0xe0
bytes rdpid, 0xf3, 0x0f, 0xc7, 0xf8
bytes senduipi, 0xf3, 0x0f, 0xc7, 0xf0
bytes clui, 0xf3, 0x0f, 0x01, 0xee
bytes stui, 0xf3, 0x0f, 0x01, 0xef
bytes uiret, 0xf3, 0x0f, 0x01, 0xec
bytes setssbsy, 0xf3, 0x0f, 0x01, 0xe8
bytes saveprevssp, 0xf3, 0x0f, 0x01, 0xea
bytes rdsspq, 0xf3, 0x48, 0x0f, 0x1e, 0xc8
bytes incsspq, 0xf3, 0x48, 0x0f, 0xae, 0xe8
bytes serialize, 0x0f, 0x01, 0xe8
bytes xresldtrk, 0xf2, 0x0f, 0x01, 0xe9
bytes rdpkru, 0x0f, 0x01, 0xee
bytes wrpkru, 0x0f, 0x01, 0xef
bytes xtest, 0x0f, 0x01, 0xd6
bytes xbegin, 0xc7, 0xf8, 0, 0, 0, 0
bytes xabort, 0xc6, 0xf8, 1
bytes llwpcb, 0x8f, 0xe9, 0xf8, 0x12, 0xc0
bytes slwpcb, 0x8f, 0xe9, 0xf8, 0x12, 0xc8
bytes clzero_it, 0x4c, 0x89, 0xc0, 0x48, 0x05, 0x00, 0x04, 0x00, 0x00, 0x0f, 0x01, 0xfc
bytes wrfsbase, 0xf3, 0x48, 0x0f, 0xae, 0xd0
bytes wrgsbase, 0xf3, 0x48, 0x0f, 0xae, 0xd8
bytes tpause, 0x66, 0x0f, 0xae, 0xf1
bytes umonitor, 0xf3, 0x41, 0x0f, 0xae, 0xf0
bytes umwait, 0xf2, 0x0f, 0xae, 0xf1
bytes aesencwide, 0xf3, 0x0f, 0x38, 0xd8, 0x00
bytes loadiwkey, 0xf3, 0x0f, 0x38, 0xdc, 0xc0
bytes ldtilecfg, 0xc4, 0xc2, 0x78, 0x49, 0x00
bytes tilerelease, 0xc4, 0xe2, 0x78, 0x49, 0xc0
instruction rdpmc, rdpmc
instruction rdtsc, rdtsc
instruction rdtscp, rdtscp
instruction xgetbv, xgetbv
instruction rdrand, rdrand rax
instruction rdseed, rdseed rax
instruction cpuid, cpuid
attack ask_cpuid                ; leaf a, index b: EAX and EBX, or ECX and EDX unless c is 0
  mov r9, rcx
  mov ecx, edx
  cpuid
  shl rbx, 32
  or rax, rbx
  shl rdx, 32
  or rcx, rdx
  test r9, r9
  cmovnz rax, rcx
  mov [r8], rax
  ret
instruction sgdt, sgdt [r8 + 1024]
instruction sidt, sidt [r8 + 1024]
instruction sldt, sldt eax
instruction str, str eax
instruction smsw, smsw eax
instruction lar, lar eax, ecx
instruction lsl, lsl eax, ecx
instruction verr, verr cx
instruction verw, verw cx
instruction clflush, clflush [r8]
instruction pause, pause
instruction rdfsbase, rdfsbase rax

; sgdt and sidt, for a look at what they tell.
attack tell_gdt
  sgdt [r8 + 1024]
  mov rax, [r8 + 1026]
  mov [r8], rax
  ret
attack tell_idt
  sidt [r8 + 1024]
  mov rax, [r8 + 1026]
  mov [r8], rax
  ret

; Ports. a = value, b = port.

instruction in_8, in al, dx
instruction in_16, in ax, dx
instruction in_32, in eax, dx
instruction out_8, out dx, al
instruction out_16, out dx, ax
instruction out_32, out dx, eax
before outs_8
  mov rsi, r8
now outs_8
  rep outsb
  ret
before outs_16
  mov rsi, r8
now outs_16
  rep outsw
  ret
before outs_32
  mov rsi, r8
now outs_32
  rep outsd
  ret
before ins_32
  lea rdi, [r8 + 1024]
now ins_32
  rep insd
  ret

; Ways to the system.

attack system_call
  syscall
  ret
attack system_enter
  sysenter
  ret
attack breakpoint
  int3
  ret
bytes breakpoint_long, 0xcd, 3
bytes debug_trap, 0xf1
; int 0 to int 255, four bytes each.
attack interrupts
%assign n 0
%rep 256
  db 0xcd, n, 0xc3, 0x90
%assign n n + 1
%endrep

; Other selectors: a = selector.

instruction load_ds, mov ds, ax
instruction load_es, mov es, ax
instruction load_fs, mov fs, ax
instruction load_gs, mov gs, ax
instruction load_ss, mov ss, ax
before far_jump
  mov dword [r8 + 1024], far_target
  mov [r8 + 1028], ax
now far_jump
  jmp far dword [r8 + 1024]
before far_call
  mov dword [r8 + 1024], far_target
  mov [r8 + 1028], ax
now far_call
  call far dword [r8 + 1024]
before far_return
  push rax
  mov ecx, far_target
  push rcx
now far_return
  o64 retf
before interrupt_return
  mov rcx, rsp
  push 0x2b
  push rcx
  push 0x202
  push rax
  mov edx, far_target
  push rdx
now interrupt_return
  iretq
; Comes here if a far transfer succeeds: to leave at once with a result that tells. The bytes are
; the same instructions in 32-bit code.
align 16
label far_target
  db 0x41                         ; inc ecx in 32-bit code, nothing by itself in 64-bit code
  db 0xc7, 0x00                   ; mov dword [eax], or mov dword [r8] with the prefix
  dd 0x600d
  out VIRTINE_DONE_PORT, eax
  ud2
; a = selector: leaves in whatever mode it comes to.
before leave_by_far_jump
  mov dword [r8 + 1024], far_leave
  mov [r8 + 1028], ax
now leave_by_far_jump
  jmp far dword [r8 + 1024]
align 16
label far_leave
  out VIRTINE_DONE_PORT, eax
  ud2
; a = selector, b = selector of the stack: the same by way of IRETQ.
before leave_by_interrupt_return
  mov rcx, rsp
  push rdx
  push rcx
  push 0x202
  push rax
  mov edx, far_leave
  push rdx
now leave_by_interrupt_return
  iretq
; Goes on with VIF and VIP set, where the host lets it, and leaves.
before leave_with_virtual_flags
  mov rcx, rsp
  push 0x2b
  push rcx
  push 0x180202
  push 0x33
  mov edx, far_leave
  push rdx
now leave_with_virtual_flags
  iretq
; Gives VIF and VIP.
attack virtual_flags
  pushfq
  pop rax
  and eax, 0x180000
  mov [r8], rax
  ret
; a = selector: makes a hypercall first.
before call_by_far_jump
  mov dword [r8 + 1024], far_call_out
  mov [r8 + 1028], ax
  mov eax, 7
now call_by_far_jump
  jmp far dword [r8 + 1024]
align 16
label far_call_out
  out VIRTINE_HYPERCALL_PORT, eax
  ud2
; a = selector: loads it everywhere it goes and leaves.
attack leave_with_ds
  mov ds, ax
  mov es, ax
  out VIRTINE_DONE_PORT, eax
attack leave_with_fs
  mov fs, ax
  mov gs, ax
  out VIRTINE_DONE_PORT, eax

; Flags and what else could outlive an exit.

%macro set_flags 1
  pushfq
  or qword [rsp], %1
  popfq
%endmacro
before trap_flag
  set_flags 0x100
  nop
now trap_flag
  nop
  nop
  ret
attack trap_flag_done
  set_flags 0x100
  out VIRTINE_DONE_PORT, eax
  ud2
attack trap_flag_ss_done
  mov ecx, 0x2b
  pushfq
  or qword [rsp], 0x100
  popfq
  mov ss, ecx
  out VIRTINE_DONE_PORT, eax
  ud2
attack trap_flag_call
  mov eax, 1
  set_flags 0x100
  out VIRTINE_HYPERCALL_PORT, eax
  ud2
attack ss_done
  mov ecx, 0x2b
  mov ss, ecx
  out VIRTINE_DONE_PORT, eax
attack flags_done
  set_flags 0x44c00               ; AC, NT, OF, DF
  out VIRTINE_DONE_PORT, eax
  ud2
before alignment
  set_flags 0x40000
now alignment
  mov eax, [rsp - 7]
  ret
before nested_return
  push 0x2b
  push rsp
  push 0x4202
  push 0x33
  mov eax, far_target
  push rax
  set_flags 0x4000
now nested_return
  iretq
attack iopl
  pushfq
  or qword [rsp], 0x3000
  popfq
  pushfq
  pop rax
  and eax, 0x3000
  mov [r8], rax
  ret
attack interrupt_flag
  pushfq
  and qword [rsp], ~0x200
  popfq
  pushfq
  pop rax
  and eax, 0x200
  mov [r8], rax
  ret
attack no_stack_done
  mov rsp, 0x8000000000000000
  out VIRTINE_DONE_PORT, eax
; a = address of an `out`, b = flags: goes there with nothing as it should be.
attack leave_at
  pushfq
  or [rsp], rdx
  popfq
  mov rcx, 0x5a5a5a5a5a5a5a5a
  mov rbx, rcx
  mov rdx, rcx
  mov rbp, rcx
  mov rdi, rcx
  mov r8, rcx
  mov r9, rcx
  mov r10, rcx
  mov r11, rcx
  mov r12, rcx
  mov r13, rcx
  mov r14, rcx
  mov r15, rcx
  mov rsp, 0x8000000000000000
  jmp rsi
attack pkru_done
  xor ecx, ecx
  xor edx, edx
  mov eax, -1
  db 0x0f, 0x01, 0xef             ; wrpkru: no data access to any page
  out VIRTINE_DONE_PORT, eax
; Gives what PKRU holds.
attack pkru
  xor ecx, ecx
  db 0x0f, 0x01, 0xee
  mov eax, eax
  mov [r8], rax
  ret
attack done_from_data
  mov eax, 0xe7
  ret
attack done_at_once
  out VIRTINE_DONE_PORT, eax

; Time and hypercalls.

attack loop_forever
  jmp loop_forever
attack cpuid_forever
  xor eax, eax
  xor ecx, ecx
  cpuid
  jmp cpuid_forever
attack trap_forever
  mov eax, [rsi]
  jmp trap_forever
attack flood
  mov eax, ecx
  mov rdi, r8
.again:
  out VIRTINE_HYPERCALL_PORT, eax
  jmp .again
; a = address, b = value: writes that and all that follow it.
attack scribble_forever
  mov [rsi], rdx
  inc rdx
  jmp scribble_forever
; a = address, b = value: writes it and does nothing for ever, or for a while before hypercall 7.
attack write_and_stay
  mov [rsi], rdx
.ever:
  pause
  jmp .ever
attack write_and_ask
  mov [rsi], rdx
  mov ecx, 50000000
.wait:
  dec ecx
  jnz .wait
  mov eax, 7
  mov rdi, r8
  out VIRTINE_HYPERCALL_PORT, eax
.ever:
  pause
  jmp .ever
; a = number, b = frame.
attack hypercall
  mov eax, eax
  mov rdi, rdx
  out VIRTINE_HYPERCALL_PORT, eax
  ret
; The frame is built at r8 + 1024: two quadwords, b and c; then read back. a = number.
attack hypercall_with
  lea rdi, [r8 + 1024]
  mov [rdi], rdx
  mov [rdi + 8], rcx
  out VIRTINE_HYPERCALL_PORT, eax
  mov rax, [r8 + 1024]
  mov [r8], rax
  ret
; The frame of `ulong(span<ulong>)`: result, then b and c. a = number.
attack hypercall_fill
  lea rdi, [r8 + 1024]
  mov [rdi + 8], rdx
  mov [rdi + 16], rcx
  out VIRTINE_HYPERCALL_PORT, eax
  mov rax, [r8 + 1024]
  mov [r8], rax
  ret
; Changes a register of every kind while the host serves it, then shows that rdi was not followed.
attack hypercall_wide_number
  mov rax, rcx
  mov rdi, rdx
  out VIRTINE_HYPERCALL_PORT, eax
  ret

; The last label has a size, so that what lies behind the code is in no function.
global end_of_code:function 1
end_of_code:
  ud2

section .rodata
align 4096
constant_value equ 0x600dc0de
constant:
  dq constant_value

section .data
align 4096
witness_value equ 0x77171e55
witness:
  dq witness_value
code_in_data:
  db 0xc3                         ; ret

section .bss
zeros_size equ 3 * 4096
alignb 4096
zeros:
  resb zeros_size
