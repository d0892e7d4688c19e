// Whether what the library reports of a sequence is possible, by what was foretold, by the bytes at
// the instruction and by the map of memory. Plainer than what the library does, and on its own.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <virtine/error.hpp>

#include "generator.hpp"
#include "places.hpp"

namespace guest_fuzz {

/// What there is to judge.
struct evidence {
  bool returned = false;
  virtine::error error = {};
  std::uint64_t rip = 0;  ///< Where the guest left, or trapped.
  std::uint64_t rflags = 0;
  std::uint64_t rdx = 0;
  /// Or another, to which one software KVM follows an IRETQ. A first write from there is no trap
  /// that goes on.
  bool has_own_code_segment = true;
  /// Returns the bytes of code at an address, fewer where it ends.
  std::span<const std::uint8_t> code = {};
  std::uint64_t code_begin = 0;

  [[nodiscard]] unsigned at(std::uint64_t address) const {
    return address - code_begin < code.size() ? code[address - code_begin] : 0x100U;
  }
};

inline bool is_prefix(unsigned byte) {
  static constexpr std::array<unsigned, 11> legacy{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                                   0x66, 0x67, 0xf0, 0xf2, 0xf3};
  return std::find(legacy.begin(), legacy.end(), byte) != legacy.end() || (byte & 0xf0) == 0x40;
}

/// Returns the address of the opcode of the instruction at `address`.
inline std::uint64_t opcode_at(const evidence& seen, std::uint64_t address) {
  for (int i = 0; i < 14 && is_prefix(seen.at(address)); ++i) ++address;
  return address;
}

/// Whether an `out` of four bytes to `port` is at `rip`, or right before it.
inline bool is_out(const evidence& seen, unsigned port) {
  for (const std::uint64_t at : {seen.rip, seen.rip - 1, seen.rip - 2}) {
    if (seen.at(at) == 0xef && (seen.rdx & 0xffff) == port && seen.rip - at < 2) return true;
    if (seen.at(at) == 0xe7 && seen.at(at + 1) == port) return true;
  }
  return false;
}

inline std::string judge_page_fault(const evidence& seen, const places& where) {
  const virtine::fault& f = seen.error.fault;
  if (f.vector != 14) return "a page fault by another vector";
  if (f.access == access::none) return "a page fault without an access";
  // On some hosts CPL 3 has protection keys.
  constexpr std::uint32_t protection_key = 1U << 5;
  if ((f.error_code & protection_key) != 0 && f.kind == fault_kind::protection) return "";
  const area at = where.at(f.address);
  auto refused = places::refusal(at, f.access);
  if (!refused && f.access == access::write && !seen.has_own_code_segment)
    refused = fault_kind::protection;
  if (!refused) return "a page fault where the guest may do that";
  if (at == area::upper_half &&
      (f.kind == fault_kind::protection || f.kind == fault_kind::execute_data))
    return "";
  // With five levels of page tables.
  if (at == area::not_canonical) refused = fault_kind::unmapped_access;
  if (*refused != f.kind) return "a page fault of another kind than memory there is";
  return "";
}

/// Returns why a fault cannot be, or an empty text.
inline std::string judge_fault(const evidence& seen, const places& where) {
  const virtine::fault& f = seen.error.fault;
  const std::uint64_t opcode = opcode_at(seen, f.instruction);
  const unsigned byte = seen.at(opcode);
  const unsigned next = seen.at(opcode + 1);
  const bool is_fetch = f.access == access::execute;
  const auto vector = [&](unsigned expected) {
    return f.vector == expected ? "" : "the vector is of another kind";
  };
  constexpr std::uint64_t trap_flag = 1U << 8;
  constexpr std::uint64_t alignment_flag = 1U << 18;

  const area from = where.at(f.instruction);
  // Told where it led to, which no instruction is fetched from any more.
  const bool jumped = f.kind == fault_kind::general_protection || f.kind == fault_kind::debug;
  if (!is_fetch && !jumped && from != area::code)
    return "a fault of an instruction that cannot be executed";
  switch (f.kind) {
    case fault_kind::divide_error:
      if (byte != 0xf6 && byte != 0xf7) return "a divide error without a division";
      return vector(0);
    case fault_kind::debug: {
      const bool is_icebp = byte == 0xf1 || seen.at(f.instruction - 1) == 0xf1;
      if (!is_icebp && (seen.rflags & trap_flag) == 0) return "a debug exception without a cause";
      return vector(1);
    }
    case fault_kind::breakpoint:
      if (seen.at(f.instruction) != 0xcc &&
          !(seen.at(f.instruction - 1) == 0xcd && seen.at(f.instruction) == 3))
        return "a breakpoint without INT3";
      return vector(3);
    case fault_kind::invalid_opcode:
      return vector(6);
    case fault_kind::system_call:
      if (byte != 0x0f || next != 0x05) return "a system call without SYSCALL";
      return "";
    case fault_kind::null_access:
    case fault_kind::stack_overflow:
    case fault_kind::unmapped_access:
    case fault_kind::protection:
    case fault_kind::execute_data:
      return judge_page_fault(seen, where);
    case fault_kind::general_protection:
      return vector(13);
    case fault_kind::stack_segment:
      return vector(12);
    case fault_kind::alignment:
      // The emulator of one host checks an IRETQ by the flags that it returns to.
      if ((seen.rflags & alignment_flag) == 0 && byte != 0xcf)
        return "an alignment check that nothing asked for";
      return vector(17);
    case fault_kind::floating_point:
      if (f.vector == 16) {
        const bool is_x87 = (byte & 0xf8) == 0xd8 || byte == 0x9b || byte == 0x0f;
        return is_x87 ? "" : "an x87 exception without an x87 instruction";
      }
      if (byte != 0x0f && byte != 0xc4 && byte != 0xc5 && byte != 0x62)
        return "an SSE exception without an SSE instruction";
      return vector(19);
    case fault_kind::aborted:
    case fault_kind::assertion_failed:
    case fault_kind::terminated:
    case fault_kind::uncaught_exception:
    case fault_kind::out_of_memory:
    case fault_kind::pure_virtual_call:
    case fault_kind::memory_corrupted:
    case fault_kind::panicked:
    case fault_kind::unavailable_function:
      return "";  // judge() looks at the instruction.
    case fault_kind::other: {
      // #OF, #BR, #NM, #TS and #NP can be.
      static constexpr std::array possible{4, 5, 7, 10, 11};
      const bool known = std::find(possible.begin(), possible.end(), f.vector) != possible.end();
      return known ? "" : "an exception that a guest cannot raise";
    }
    case fault_kind::none:
    case fault_kind::triple_fault:
      return "a fault that cannot be";
  }
  return "a kind of fault that does not exist";
}

/// Returns why a guest cannot have ended so, or an empty text.
inline std::string judge(const evidence& seen, const places& where) {
  if (seen.returned) return is_out(seen, 0xe0) ? "" : "a return without the `out` that makes one";
  switch (seen.error.code) {
    case virtine::errc::guest_fault: {
      const auto kind = seen.error.fault.kind;
      if (kind >= fault_kind::aborted && kind <= fault_kind::unavailable_function) {
        const std::uint64_t opcode = opcode_at(seen, seen.rip);
        const bool is_ud1 = seen.at(opcode) == 0x0f && seen.at(opcode + 1) == 0xb9;
        return is_ud1 ? "" : "a guest that ended itself without the UD1 for that";
      }
      return judge_fault(seen, where);
    }
    case virtine::errc::hypercall_denied:
      return is_out(seen, 0xe4) ? "" : "a hypercall without the `out` that makes one";
    case virtine::errc::exited:
      return is_out(seen, 0xe8) ? "" : "an exit without the `out` of a system call";
    case virtine::errc::hypercall_limit:
      return is_out(seen, 0xe8) ? "" : "too many system calls without an `out` that makes one";
    case virtine::errc::cpu_limit:
      return "";
    default:
      return std::string("a guest cannot end by ") + virtine::name(seen.error.code);
  }
}

/// Returns why this is none of the ways that were foretold, or an empty text.
inline std::string compare(const evidence& seen, const std::vector<foretold>& endings) {
  if (endings.empty()) return "";
  const virtine::fault& f = seen.error.fault;
  const auto in = [](std::uint64_t value, std::uint64_t begin, std::uint64_t end) {
    return value >= begin && value < end;
  };
  for (const foretold& each : endings) {
    if (each.code == virtine::errc{}) {
      if (seen.returned) return "";
      continue;
    }
    if (seen.returned || seen.error.code != each.code) continue;
    if (each.code != virtine::errc::guest_fault) return "";
    if (f.kind == each.kind && f.access == each.how &&
        in(f.address, each.address, each.address_end) &&
        in(f.instruction, each.instruction, each.instruction_end))
      return "";
  }
  const foretold& first = endings.front();
  std::string out = "this was foretold to end by ";
  if (first.code == virtine::errc{}) return out + "a return";
  out += virtine::name(first.code);
  if (first.code == virtine::errc::guest_fault) {
    out += std::string(", ") + virtine::name(first.kind);
    out += " of ";
    virtine::detail::append_hex(out, first.address);
    out += " at ";
    virtine::detail::append_hex(out, first.instruction);
  }
  return out;
}

}  // namespace guest_fuzz
