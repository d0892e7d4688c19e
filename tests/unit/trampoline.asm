; The entry trampoline's page as an assembler sees it, to compare with x86/trampoline.hpp.
; SPDX-License-Identifier: MIT
bits 64
default rel
org 0x12000

; Nothing is known of the registers but CPL 3, CS, SS and that RFLAGS.TF is clear. Makes all four
; data segments the base-0 one, sets RFLAGS and all general registers, calls the function that
; the host has put on the stack with its frame, writes its eax to the done port, and starts over when
; the host goes on. Argument: the entry to start over at.
%macro call_and_report 1
        mov     ecx, 0x2b
        mov     ds, ecx
        mov     es, ecx
        mov     fs, ecx
        mov     gs, ecx
        mov     rcx, [thread_pointer]
        jrcxz   %%no_thread
        wrfsbase rcx
%%no_thread:
        push    strict dword 0x202
        popfq
        xor     ecx, ecx
        xor     edx, edx
        xor     ebx, ebx
        xor     ebp, ebp
        xor     esi, esi
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        xor     r12d, r12d
        xor     r13d, r13d
        xor     r14d, r14d
        xor     r15d, r15d
        pop     rax
        pop     rdi
        call    rax
        out     0xe0, eax
        jmp     strict near %1
%endmacro

; CR4.OSXSAVE is set. Puts every state component of XCR0, and MXCSR, into its initial state.
entry_with_xrstor:
        mov     rsp, [call_address]
        or      eax, -1
        or      edx, -1
        xrstor64 [init_state]
        ldmxcsr [init_state + 24]
        call_and_report entry_with_xrstor

; The same for a processor whose XRSTOR may leave the x87 pointers.
        times 0x80 - ($ - $$) db 0xcc
entry_with_fninit:
        mov     rsp, [call_address]
        fninit
        or      eax, -1
        or      edx, -1
        xrstor64 [init_state]
        ldmxcsr [init_state + 24]
        call_and_report entry_with_fninit

; The same for a processor or host without XSAVE: x87, XMM and MXCSR are all there is.
        times 0x100 - ($ - $$) db 0xcc
entry_with_fxrstor:
        mov     rsp, [call_address]
        fninit
        fxrstor64 [init_state]
        call_and_report entry_with_fxrstor

; What the thread pointer is to be, or 0; the test gives 0x8899aabbccddeef0.
        times 0x1f0 - ($ - $$) db 0xcc
thread_pointer:
        dq      0x8899aabbccddeef0

; Where the host puts the function and its frame; the test gives 0x1122334455667780.
        times 0x1f8 - ($ - $$) db 0xcc
call_address:
        dq      0x1122334455667780

; The initial state: FXSAVE layout (FCW, MXCSR) and an XSAVE header of zeros.
init_state:
        dw      0x37f
        times 24 - ($ - init_state) db 0
        dd      0x1f80
        times 576 - ($ - init_state) db 0

; void batch(header): calls the function for each frame, as the links before the frames say.
; Returns to the entry. header: function, frame.
batch:
        push    rdi
.next:
        mov     rax, [rdi]
        mov     rdi, [rdi + 8]
        cld
        call    rax
        mov     rdi, [rsp]
        mov     rdx, [rdi + 8]
        mov     rdx, [rdx - 16]
        mov     [rdi + 8], rdx
        test    rdx, rdx
        jnz     .next
        pop     rax
        ret

; void session(mailbox): calls the function whenever request and answer differ; returns when they
; have not for as long as patience says. mailbox: request, answer, function, frame, patience.
        times 0x480 - ($ - $$) db 0xcc
session:
        push    rdi
.wait:
        xor     ecx, ecx
.poll:
        mov     eax, [rdi]
        cmp     eax, [rdi + 8]
        jne     .serve
        pause
        inc     ecx
        cmp     ecx, [rdi + 28]
        jb      .poll
        pop     rax
        ret
.serve:
        mov     rax, [rdi + 16]
        mov     ecx, [rdi + 24]
        add     rdi, rcx
        cld
        call    rax
        mov     rdi, [rsp]
        mov     rax, [rdi]
        mov     [rdi + 8], rax
        jmp     .wait

; The rest of the page traps.
        times 4096 - ($ - $$) db 0xcc
