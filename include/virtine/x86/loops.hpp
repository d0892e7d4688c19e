// The guest's side of batches and sessions: loops that call one function many times in one stay,
// and the words in argument memory by which the host directs them. The guest may write these words
// too, and jump anywhere in the loops, so the host takes nothing in them for true.
// Must not know what the function is or how its frames are laid out.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include <virtine/abi/user64.hpp>
#include <virtine/x86/code_writer.hpp>

namespace virtine::x86 {

// Offsets in the trampoline's page, behind what trampoline.hpp puts there.
inline constexpr std::size_t batch_offset = 0x440;
inline constexpr std::size_t session_offset = 0x480;
inline constexpr std::size_t loops_end = 0x4b0;

/// The function that calls another for each frame of a batch. Its argument is a batch_header.
inline constexpr std::uint64_t batch_function = trampoline_page + batch_offset;
/// The function that calls another whenever the host posts a request, and returns if there is none
/// for a while. Its argument is a session_mailbox.
inline constexpr std::uint64_t session_function = trampoline_page + session_offset;
/// A function that does nothing: the end of session_function.
inline constexpr std::uint64_t session_nothing = session_function + 20;

/// The patience of a guest that is to wait for calls on a processor of its own: about a tenth of a
/// millisecond. More would be lost whenever the caller has to share a core with the guest.
inline constexpr std::uint32_t session_patience = 0x1000;

/// At the start of argument memory.
struct batch_header {
  std::uint64_t function = 0;
  std::uint64_t frame = 0;  ///< Of the job that runs; 0 after the last one.
};

/// Right before each frame of a batch.
struct batch_link {
  std::uint64_t next = 0;   ///< The next frame; 0 at the last one.
  std::uint64_t index = 0;  ///< For the host: which job this is.
};

/// At the start of argument memory. Small, so that it shares a cache line with a small frame that
/// follows: a call then moves one line from the host's processor to the guest's, and back.
struct session_mailbox {
  std::uint64_t request = 0;  ///< The number of the last call that the host has posted.
  std::uint64_t answer = 0;   ///< The guest's: the number of the last call that has returned.
  std::uint64_t function = 0;
  std::uint32_t frame = 0;     ///< From here to the frame of all calls.
  std::uint32_t patience = 0;  ///< How often session_function looks for a request, at least once.
};

namespace detail {
constexpr void write_batch_loop(page& out) {
  code_writer code(out, batch_offset);
  code.emit({0x57});  // push rdi
  const std::size_t next = code.at();
  code.emit({0x48, 0x8b, 0x07});        // mov rax, [rdi]
  code.emit({0x48, 0x8b, 0x7f, 0x08});  // mov rdi, [rdi + 8]
  code.emit({0xfc});                    // cld
  code.emit({0xff, 0xd0});              // call rax
  code.emit({0x48, 0x8b, 0x3c, 0x24});  // mov rdi, [rsp]
  code.emit({0x48, 0x8b, 0x57, 0x08});  // mov rdx, [rdi + 8]
  code.emit({0x48, 0x8b, 0x52, 0xf0});  // mov rdx, [rdx - 16]
  code.emit({0x48, 0x89, 0x57, 0x08});  // mov [rdi + 8], rdx
  code.emit({0x48, 0x85, 0xd2});        // test rdx, rdx
  code.emit_short(0x75, next);          // jnz next
  code.emit({0x58, 0xc3});              // pop rax; ret
}

constexpr void write_session_loop(page& out) {
  code_writer code(out, session_offset);
  code.emit({0x57});  // push rdi
  const std::size_t wait = code.at();
  code.emit({0x31, 0xc9});  // xor ecx, ecx
  const std::size_t poll = code.at();
  constexpr std::size_t to_serve = 2 + 2 + 2 + 3 + 2 + 2;
  // The lower halves tell numbers apart that count up; and no byte here may be that of an `out`.
  code.emit({0x8b, 0x07});                      // mov eax, [rdi]
  code.emit({0x3b, 0x47, 0x08});                // cmp eax, [rdi + 8]
  code.emit_short(0x75, code.at() + to_serve);  // jne serve
  code.emit({0xf3, 0x90});                      // pause
  code.emit({0xff, 0xc1});                      // inc ecx
  // Each time, because the host may lose its patience meanwhile.
  code.emit({0x3b, 0x4f, 0x1c});        // cmp ecx, [rdi + 28]
  code.emit_short(0x72, poll);          // jb poll
  code.emit({0x58, 0xc3});              // pop rax; ret
  code.emit({0x48, 0x8b, 0x47, 0x10});  // serve: mov rax, [rdi + 16]
  code.emit({0x8b, 0x4f, 0x18});        // mov ecx, [rdi + 24]
  code.emit({0x48, 0x01, 0xcf});        // add rdi, rcx
  code.emit({0xfc});                    // cld
  code.emit({0xff, 0xd0});              // call rax
  code.emit({0x48, 0x8b, 0x3c, 0x24});  // mov rdi, [rsp]
  code.emit({0x48, 0x8b, 0x07});        // mov rax, [rdi]
  // Stores are seen in the order in which they are made: this one after those of the function.
  code.emit({0x48, 0x89, 0x47, 0x08});  // mov [rdi + 8], rax
  code.emit_short(0xeb, wait);          // jmp wait
}
}  // namespace detail

}  // namespace virtine::x86
