; The entry trampoline's page as an assembler sees it, to compare with x86/trampoline.hpp.
; SPDX-License-Identifier: MIT
bits 64
default rel
org 0x12000

; In: rbx = function, rdi = call frame, rsp = stack top, 16-byte aligned. Makes all four data
; segments the base-0 one, calls the function with rax = its address and rbx, rcx, rdx zero, and
; writes its eax to the done port. Does not return.
%macro call_and_report 0
        mov     ecx, 0x2b
        mov     ds, ecx
        mov     es, ecx
        mov     fs, ecx
        mov     gs, ecx
        mov     rax, rbx
        xor     ebx, ebx
        xor     ecx, ecx
        xor     edx, edx
        call    rax
        out     0xe0, eax
        ud2
%endmacro

; In: CPL 3, CR4.OSXSAVE set, rax = function, rdi = call frame, rsp = stack top. Moves the function
; to rbx and puts every state component of XCR0, and MXCSR, into its initial state.
        mov     rbx, rax
        fninit
        or      eax, -1
        or      edx, -1
        xrstor64 [init_state]
        ldmxcsr [init_state + 24]
        call_and_report

; The same for a processor or host without XSAVE: x87, XMM and MXCSR are all there is.
        times 0x80 - ($ - $$) db 0xcc
        mov     rbx, rax
        fninit
        fxrstor64 [init_state]
        call_and_report

; The initial state: FXSAVE layout (FCW, MXCSR) and an XSAVE header of zeros.
        times 0x100 - ($ - $$) db 0xcc
init_state:
        dw      0x37f
        times 24 - ($ - init_state) db 0
        dd      0x1f80
        times 576 - ($ - init_state) db 0

; The rest of the page traps.
        times 4096 - ($ - $$) db 0xcc
