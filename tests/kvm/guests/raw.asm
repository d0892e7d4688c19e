; Functions that see and give bytes as they are, among them such as no compiler would.
; SPDX-License-Identifier: MIT
%include "virtine.inc"

section .text

; bool(u8): the byte given, valid or not.
virtine_export as_bool, "b(u1)"
  mov al, [rdi + 1]
  mov [rdi], al
  ret

; colour(u8, span<int>): the byte given; writes 77 to the first int.
virtine_export as_colour, "eu1(u1,[=i4])"
  mov al, [rdi + 1]
  mov [rdi], al
  mov rcx, [rdi + 8]
  mov dword [rcx], 77
  ret

; interval(int, int): a struct of the two.
virtine_export as_interval, "{8.4}(i4,i4)"
  mov rax, [rdi + 8]
  mov [rdi], rax
  ret

; bytes<8>(u64 size, span<u8>): "abcdefgh" of the size given; writes 77 to the first u8.
virtine_export as_bytes, "y8(u8,[=u1])"
  mov rax, [rdi + 16]
  mov [rdi], rax
  mov rax, 'abcdefgh'
  mov [rdi + 8], rax
  mov rcx, [rdi + 24]
  mov byte [rcx], 77
  ret

; void(u8, span<bool>): sets the last bool to the byte given, the others to true.
virtine_export set_bools, "v(u1,[=b])"
  mov al, [rdi]
  mov rcx, [rdi + 16]
  mov rdi, [rdi + 8]
.next:
  mov byte [rdi], 1
  inc rdi
  dec rcx
  jnz .next
  mov [rdi - 1], al
  ret

; bytes<24>(padded): the argument's own bytes.
virtine_export bytes_of, "y24({24.8})"
  mov qword [rdi], 24
  lea rsi, [rdi + 32]
  add rdi, 8
  mov ecx, 24
  rep movsb
  ret

; bytes<72>(span<const padded>): the bytes of three elements.
virtine_export bytes_of_three, "y72([{24.8}])"
  mov qword [rdi], 72
  mov rsi, [rdi + 80]
  add rdi, 8
  mov ecx, 72
  rep movsb
  ret

; u8(u32 offset): the byte at that offset from the frame.
virtine_export byte_at, "u1(u4)"
  mov eax, [rdi + 4]
  mov al, [rdi + rax]
  mov [rdi], al
  ret
