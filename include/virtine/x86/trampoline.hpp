// The code through which every call enters a user64 guest: it wipes what the host does not.
// Must not know what the called function is or where its arguments come from.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <virtine/x86/bytes.hpp>
#include <virtine/x86/user64.hpp>

namespace virtine::x86 {

// Offsets in the trampoline's page.
inline constexpr std::size_t xrstor_entry_offset = 0x000;   ///< Needs CR4.OSXSAVE.
inline constexpr std::size_t fxrstor_entry_offset = 0x080;  ///< Needs CR4.OSFXSR only.
inline constexpr std::size_t init_state_offset = 0x100;     ///< What the entries restore from.
inline constexpr std::size_t init_state_size = 512 + 64;    ///< Legacy area and XSAVE header.

static_assert(init_state_offset % 64 == 0, "XRSTOR faults on an area that is not 64-byte aligned");
static_assert(init_state_offset + init_state_size <= page_size);
static_assert(done_port < 0x100 && user_data_selector < 0x100, "both are emitted as one byte");

/// Returns the guest address at which to enter. At entry RAX is the address of the function, RDI
/// that of its call frame and RSP the top of the stack, 16-byte aligned. The function finds RBX,
/// RCX and RDX zero and all other general registers as at entry. When it returns, its EAX is
/// written to done_port.
///
/// Without XRSTOR only x87, XMM and MXCSR are wiped. That is enough where AVX raises #UD while
/// CR4.OSXSAVE is clear, as the architecture has it; a software KVM may run AVX whatever CR4 and
/// CPUID say, and there the other entry must be used.
constexpr std::uint64_t trampoline_entry(bool osxsave) {
  return trampoline_page + (osxsave ? xrstor_entry_offset : fxrstor_entry_offset);
}

namespace detail {
/// Writes instructions one after the other into a page.
class code_writer {
 public:
  constexpr code_writer(page& out, std::size_t at) : out_(out), at_(at) {}

  constexpr void emit(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) out_[at_++] = static_cast<std::byte>(byte);
  }

  /// Writes an instruction that ends in the RIP-relative address of page offset `target`.
  constexpr void emit_relative(std::initializer_list<unsigned> bytes, std::size_t target) {
    emit(bytes);
    store(out_, at_, static_cast<std::uint32_t>(target - (at_ + 4)));
    at_ += 4;
  }

 private:
  page& out_;
  std::size_t at_;
};

constexpr void write_entry(page& out, bool osxsave) {
  code_writer code(out, osxsave ? xrstor_entry_offset : fxrstor_entry_offset);
  code.emit({0x48, 0x89, 0xc3});  // mov rbx, rax
  // Before the restore, because on AMD that leaves the x87 instruction and operand pointers of the
  // previous call unless an exception is pending (APM, FXRSTOR and XRSTOR).
  code.emit({0xdb, 0xe3});  // fninit
  if (osxsave) {
    // All components that XCR0 has, so AVX-512, PKRU and AMX tiles too; XSTATE_BV is 0.
    code.emit({0x83, 0xc8, 0xff});                                    // or eax, -1
    code.emit({0x83, 0xca, 0xff});                                    // or edx, -1
    code.emit_relative({0x48, 0x0f, 0xae, 0x2d}, init_state_offset);  // xrstor64 [rel init_state]
    // Loaded by itself, so that nothing rests on what XRSTOR does with the MXCSR of an area whose
    // XSTATE_BV lacks SSE; the rules differ between its forms.
    code.emit_relative({0x0f, 0xae, 0x15}, init_state_offset + 24);  // ldmxcsr [rel mxcsr]
  } else {
    // FNINIT alone would leave the data in the x87 registers, where FLDENV can uncover it.
    code.emit_relative({0x48, 0x0f, 0xae, 0x0d}, init_state_offset);  // fxrstor64 [rel init_state]
  }
  // A null selector would leave the base as it is on AMD; SS and CS need nothing, since CPL 3 can
  // load no other selectors into them than those it has.
  code.emit({0xb9, user_data_selector, 0, 0, 0});  // mov ecx, user_data_selector
  code.emit({0x8e, 0xd9});                         // mov ds, ecx
  code.emit({0x8e, 0xc1});                         // mov es, ecx
  code.emit({0x8e, 0xe1});                         // mov fs, ecx
  code.emit({0x8e, 0xe9});                         // mov gs, ecx
  code.emit({0x48, 0x89, 0xd8});                   // mov rax, rbx
  code.emit({0x31, 0xdb});                         // xor ebx, ebx
  code.emit({0x31, 0xc9});                         // xor ecx, ecx
  code.emit({0x31, 0xd2});                         // xor edx, edx
  code.emit({0xff, 0xd0});                         // call rax
  code.emit({0xe7, done_port});                    // out done_port, eax
  code.emit({0x0f, 0x0b});                         // ud2
}

constexpr page make_trampoline() {
  page bytes{};
  bytes.fill(std::byte{0xcc});
  write_entry(bytes, true);
  write_entry(bytes, false);
  for (std::size_t i = 0; i < init_state_size; ++i) bytes[init_state_offset + i] = std::byte{0};
  store(bytes, init_state_offset, std::uint16_t{0x37f});        // FCW: all masked, 64-bit precision
  store(bytes, init_state_offset + 24, std::uint32_t{0x1f80});  // MXCSR: all masked
  return bytes;
}

constexpr bool is_out(std::byte opcode) {
  return opcode == std::byte{0xe6} || opcode == std::byte{0xe7} || opcode == std::byte{0xee} ||
         opcode == std::byte{0xef} || opcode == std::byte{0x6e} || opcode == std::byte{0x6f};
}
}  // namespace detail

/// The page at trampoline_page: both entries and the state they restore.
inline constexpr page trampoline = detail::make_trampoline();

static_assert(trampoline[fxrstor_entry_offset - 1] == std::byte{0xcc} &&
              trampoline[init_state_offset - 1] == std::byte{0xcc});

// Because KVM on VMX and SVM takes a RIP that is set to the `out` it last exited on for that
// instruction's completion, and skips it.
static_assert(!detail::is_out(trampoline[xrstor_entry_offset]) &&
              !detail::is_out(trampoline[fxrstor_entry_offset]));

}  // namespace virtine::x86
