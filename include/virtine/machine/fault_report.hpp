// What a trap of a user64 guest means: the processor's frame turned into a fault for the caller.
// Knows nothing of KVM.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <virtine/abi/abort_reason.hpp>
#include <virtine/error.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/x86/trap.hpp>

namespace virtine::detail {

/// All that is known when a guest has trapped.
struct trap {
  std::uint8_t vector = 0;
  x86::trap_frame frame;
  std::uint64_t cr2 = 0;
  std::uint64_t rcx = 0;
};

/// Returns whether the trap is the guest's first write to a page it may write.
inline bool is_first_write(const trap& t, const layout& where) {
  constexpr std::uint64_t write_to_present =
      x86::page_fault_present | x86::page_fault_write | x86::page_fault_user;
  return t.vector == x86::exception_vector::page_fault && x86::from_user(t.frame) &&
         t.frame.error_code == write_to_present && where.is_writable(t.cr2);
}

inline bool is_syscall(const guest_memory& memory, std::uint64_t address) {
  auto opcode = memory.read<std::uint16_t>(guest_address{address});
  return opcode && *opcode == 0x050f;
}

constexpr fault_kind kind_of(x86::abort_reason why) {
  switch (why) {
    case x86::abort_reason::aborted:
      return fault_kind::aborted;
    case x86::abort_reason::assertion_failed:
      return fault_kind::assertion_failed;
    case x86::abort_reason::terminated:
      return fault_kind::terminated;
    case x86::abort_reason::uncaught_exception:
      return fault_kind::uncaught_exception;
    case x86::abort_reason::out_of_memory:
      return fault_kind::out_of_memory;
    case x86::abort_reason::pure_virtual_call:
      return fault_kind::pure_virtual_call;
    case x86::abort_reason::memory_corrupted:
      return fault_kind::memory_corrupted;
    case x86::abort_reason::panicked:
      return fault_kind::panicked;
    case x86::abort_reason::unavailable_function:
      return fault_kind::unavailable_function;
  }
  return fault_kind::invalid_opcode;
}

inline void describe_invalid_opcode(fault& out, const trap& t, const guest_memory& memory) {
  out.kind = fault_kind::invalid_opcode;
  if (is_syscall(memory, t.frame.rip)) {
    out.kind = fault_kind::system_call;
    return;
  }
  using code = std::array<std::byte, x86::abort_code_size>;
  if (const auto found = memory.read<code>(guest_address{t.frame.rip})) {
    if (const auto why = x86::decode_abort(*found)) {
      out.kind = kind_of(*why);
      out.instruction = t.rcx - 1;  // The address after the call.
    }
  }
}

inline void describe_page_fault(fault& out, const trap& t, const layout& where,
                                const guest_memory& memory) {
  const std::uint64_t code = t.frame.error_code;
  out.address = t.cr2;
  out.access = (code & x86::page_fault_fetch) != 0   ? access::execute
               : (code & x86::page_fault_write) != 0 ? access::write
                                                     : access::read;
  if ((code & x86::page_fault_present) != 0) {
    out.kind = out.access == access::execute ? fault_kind::execute_data : fault_kind::protection;
  } else if (t.cr2 < x86::null_guard_end) {
    out.kind = fault_kind::null_access;
    // Some hosts run `syscall` without EFER.SCE: it jumps to LSTAR, which is 0, and leaves the
    // address of the next instruction in RCX.
    if (out.access == access::execute && t.frame.rip == 0 && is_syscall(memory, t.rcx - 2)) {
      out.kind = fault_kind::system_call;
      out.access = access::none;
      out.instruction = t.rcx - 2;
    }
  } else if (t.cr2 >= where.guard && t.cr2 < where.stack) {
    out.kind = fault_kind::stack_overflow;
  } else {
    out.kind = fault_kind::unmapped_access;
  }
}

/// Says in which function and source line of `image` the instruction of a fault is.
inline void locate(error& out, const image_description& image) {
  fault& f = out.fault;
  // Without this the texts of an image that is unloaded would be read when the error is printed.
  out.texts = keeper(image.owner);
  if (const symbol* found = find_symbol(image.symbols, f.instruction)) {
    f.symbol = found->name;
    f.offset = f.instruction - found->address;
  }
  if (const source_line* found = find_line(image.lines, f.instruction)) {
    f.file = found->file;
    f.line = found->line;
  }
}

/// Returns what it is that a guest has used one of our ports, at `instruction`, in a way that the
/// trampoline and virtine::guest::call never do.
inline error port_misuse(std::uint64_t instruction) {
  error out{.code = errc::guest_fault};
  out.fault.kind = fault_kind::general_protection;
  out.fault.vector = x86::exception_vector::general_protection;
  out.fault.instruction = instruction;
  return out;
}

/// Returns what the trap was, with the guest function that it happened in.
inline error report(const trap& t, const image_description& image, const layout& where,
                    const guest_memory& memory) {
  using vector = x86::exception_vector;
  error out{.code = errc::guest_fault};
  fault& f = out.fault;
  f.vector = t.vector;
  f.error_code = static_cast<std::uint32_t>(t.frame.error_code);
  f.instruction = t.frame.rip;
  switch (t.vector) {
    case vector::divide_error:
      f.kind = fault_kind::divide_error;
      break;
    case vector::debug:
      f.kind = fault_kind::debug;
      break;
    case vector::breakpoint:
      f.kind = fault_kind::breakpoint;
      f.instruction -= 1;  // A trap: the frame has the address after the INT3.
      break;
    case vector::invalid_opcode:
      describe_invalid_opcode(f, t, memory);
      break;
    case vector::stack_segment:
      f.kind = fault_kind::stack_segment;
      break;
    case vector::general_protection:
      f.kind = fault_kind::general_protection;
      break;
    case vector::page_fault:
      describe_page_fault(f, t, where, memory);
      break;
    case vector::alignment_check:
      f.kind = fault_kind::alignment;
      break;
    case vector::x87_floating_point:
    case vector::simd_floating_point:
      f.kind = fault_kind::floating_point;
      break;
    default:
      f.kind = fault_kind::other;
      break;
  }
  locate(out, image);
  return out;
}

}  // namespace virtine::detail
