// What a guest can do wrong, and where it did.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/cxx20.hpp>

namespace virtine {

/// Says what a guest did to raise errc::guest_fault.
enum class fault_kind : std::uint8_t {
  none = 0,
  divide_error,
  debug,
  breakpoint,
  invalid_opcode,
  system_call,         ///< A `syscall` instruction; there is no kernel in the guest.
  null_access,         ///< A page fault in the unmapped first 64 KiB.
  stack_overflow,      ///< A page fault in the guard page below the stack.
  unmapped_access,     ///< A page fault at an address where the guest has no memory.
  protection,          ///< A write to read-only memory or a touch of supervisor memory.
  execute_data,        ///< An instruction fetch from memory that is not code.
  general_protection,  ///< A privileged instruction, a foreign port, a non-canonical address...
  stack_segment,
  alignment,
  floating_point,      ///< An unmasked x87 or SSE exception.
  aborted,             ///< The guest called abort().
  assertion_failed,    ///< An assert() did not hold, or one of the C++ library's.
  terminated,          ///< The guest called std::terminate(), or left a noexcept by an exception.
  uncaught_exception,  ///< The guest threw an exception that nothing in it catches.
  out_of_memory,       ///< operator new found the heap full, and nothing catches std::bad_alloc.
  pure_virtual_call,
  memory_corrupted,      ///< A check that the guest's compiler put in found something overwritten.
  panicked,              ///< A guest in Rust panicked.
  unavailable_function,  ///< The guest called a function that guests do not have; see
                         ///< fault::symbol.
  triple_fault,          ///< A fault that the guest could not take; bare guests have no handlers.
  other,                 ///< Another vector; see fault::vector.
};

/// Returns the kind in words, as messages use it.
constexpr const char* name(fault_kind kind) {
  switch (kind) {
    case fault_kind::none:
      return "no fault";
    case fault_kind::divide_error:
      return "divide error";
    case fault_kind::debug:
      return "debug exception";
    case fault_kind::breakpoint:
      return "breakpoint";
    case fault_kind::invalid_opcode:
      return "invalid opcode";
    case fault_kind::system_call:
      return "syscall instruction";
    case fault_kind::null_access:
      return "null pointer access";
    case fault_kind::stack_overflow:
      return "stack overflow";
    case fault_kind::unmapped_access:
      return "access to unmapped memory";
    case fault_kind::protection:
      return "access to protected memory";
    case fault_kind::execute_data:
      return "jump into memory that is not code";
    case fault_kind::general_protection:
      return "general protection fault";
    case fault_kind::stack_segment:
      return "stack segment fault";
    case fault_kind::alignment:
      return "alignment check";
    case fault_kind::floating_point:
      return "floating-point exception";
    case fault_kind::aborted:
      return "abort() called";
    case fault_kind::assertion_failed:
      return "failed assertion";
    case fault_kind::terminated:
      return "std::terminate() called";
    case fault_kind::uncaught_exception:
      return "uncaught exception";
    case fault_kind::out_of_memory:
      return "out of memory";
    case fault_kind::pure_virtual_call:
      return "call of a pure virtual function";
    case fault_kind::memory_corrupted:
      return "memory corruption found";
    case fault_kind::panicked:
      return "panic";
    case fault_kind::unavailable_function:
      return "call of a function that guests do not have";
    case fault_kind::triple_fault:
      return "triple fault";
    case fault_kind::other:
      return "processor exception";
  }
  return "unknown fault";
}

/// What the guest was doing to the address of a page fault.
enum class access : std::uint8_t { none, read, write, execute };

/// Where and how a guest faulted. All addresses are guest addresses.
struct fault {
  fault_kind kind = fault_kind::none;
  virtine::access access = access::none;  ///< For page faults.
  std::uint8_t vector = 0;                ///< The x86 exception vector.
  std::uint32_t error_code = 0;           ///< As the processor pushed it; 0 if it pushes none.
  std::uint64_t address = 0;              ///< CR2 of a page fault, else 0.
  std::uint64_t instruction = 0;          ///< The instruction that faulted.
  const char* symbol = nullptr;           ///< The guest function it is in, or null.
  std::uint64_t offset = 0;               ///< The instruction's offset from `symbol`.
  const char* file = nullptr;             ///< The instruction's source, of an image built with -g;
  std::uint32_t line = 0;                 ///< or null.
};

}  // namespace virtine
