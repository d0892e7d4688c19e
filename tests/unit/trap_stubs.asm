; The page of trap stubs as an assembler sees it, to compare with x86/trap.hpp.
; SPDX-License-Identifier: MIT
bits 64
org 0x11000

; One stub per exception vector. At entry: CPL 0, RSP at the frame the processor pushed. Changes
; no register and no memory; does not return, the host takes over at the out.
%assign vector 0
%rep 32
        out     0xc0 + vector, al
        ud2
        times ((vector + 1) * 16) - ($ - $$) db 0xcc
%assign vector vector + 1
%endrep

; The rest of the page traps.
        times 4096 - ($ - $$) db 0xcc
