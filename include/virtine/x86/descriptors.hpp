// The segments, descriptor tables and task state of a guest, as the bytes a processor reads.
// Must not know of page tables or KVM; kvm_segment merely has the same member names.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/abi/little_endian.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/x86/cpu_mode.hpp>

namespace virtine::x86 {

// Descriptor types (SDM vol. 3, 3.4.5.1 and 3.5). Code and data are the accessed forms: the
// processor would otherwise set that bit itself, and the table is read-only.
inline constexpr std::uint8_t code_type = 11;      ///< Execute, read, not conforming, accessed.
inline constexpr std::uint8_t data_type = 3;       ///< Read, write, not expand-down, accessed.
inline constexpr std::uint8_t ldt_type = 2;        ///< Local descriptor table.
inline constexpr std::uint8_t busy_task = 11;      ///< Busy TSS, the state of a loaded one.
inline constexpr std::uint8_t available_task = 9;  ///< For one emulated SVM host; VMX refuses it.

/// A segment register's visible and hidden part; members are named as in kvm_segment.
struct segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0;  ///< In bytes, whatever `g` is.
  std::uint16_t selector = 0;
  std::uint8_t type = 0;
  std::uint8_t present = 0;
  std::uint8_t dpl = 0;
  std::uint8_t db = 0;
  std::uint8_t s = 0;  ///< 1: code or data, 0: system.
  std::uint8_t l = 0;
  std::uint8_t g = 0;
  std::uint8_t avl = 0;
  std::uint8_t unusable = 0;

  friend bool operator==(const segment&, const segment&) = default;
};

/// The segment registers of a starting guest. `data` is for DS, ES, FS, GS and SS.
struct segment_set {
  segment code;
  segment data;
  segment task;
  segment local;  ///< LDTR; there is never a local table.
};

inline constexpr std::size_t gdt_size = 0x48;
inline constexpr std::size_t io_bitmap_offset = 0x68;
inline constexpr std::size_t io_bitmap_size = 0x100 / 8;  ///< Ports from 0x100 are past the limit.
/// One byte more than the bitmap, as the processor always reads two (SDM vol. 1, 19.5.2).
inline constexpr std::size_t tss_size = io_bitmap_offset + io_bitmap_size + 1;
inline constexpr std::size_t idt_size = vector_count * 16;

// What GDTR, IDTR and TR hold as limits: the last valid offset.
inline constexpr std::uint16_t gdt_limit = gdt_size - 1;
inline constexpr std::uint16_t tss_limit = tss_size - 1;
inline constexpr std::uint16_t idt_limit = idt_size - 1;

namespace detail {
constexpr segment flat_code(std::uint16_t selector, std::uint8_t dpl, bool is_64bit) {
  return {.limit = 0xffffffff,
          .selector = selector,
          .type = code_type,
          .present = 1,
          .dpl = dpl,
          .db = static_cast<std::uint8_t>(is_64bit ? 0 : 1),
          .s = 1,
          .l = static_cast<std::uint8_t>(is_64bit ? 1 : 0),
          .g = 1};
}

constexpr segment flat_data(std::uint16_t selector, std::uint8_t dpl) {
  return {.limit = 0xffffffff,
          .selector = selector,
          .type = data_type,
          .present = 1,
          .dpl = dpl,
          .db = 1,
          .s = 1,
          .g = 1};
}

constexpr segment real_mode(std::uint8_t type) {
  return {.limit = 0xffff, .type = type, .present = 1, .s = 1};
}
}  // namespace detail

/// Returns the segment registers of a guest that starts in `mode`. `task_type` is busy_task unless
/// the host is one whose I/O permission check wants available_task; VMX fails the entry with
/// anything but busy_task (SDM vol. 3, 26.3.1.2). Bare modes have a task register only because
/// entering a guest needs a valid one.
constexpr segment_set segments_of(cpu_mode mode, std::uint8_t task_type = busy_task) {
  const segment no_ldt{.type = ldt_type, .unusable = 1};
  const segment no_task{.limit = 0xffff, .type = task_type, .present = 1};
  switch (mode) {
    case cpu_mode::user64:
      return {detail::flat_code(user_code_selector, 3, true),
              detail::flat_data(user_data_selector, 3),
              {.base = tss_address,
               .limit = tss_limit,
               .selector = task_selector,
               .type = task_type,
               .present = 1},
              no_ldt};
    case cpu_mode::long64:
      return {detail::flat_code(kernel_code_selector, 0, true),
              detail::flat_data(kernel_data_selector, 0), no_task, no_ldt};
    case cpu_mode::protected32:
      return {detail::flat_code(kernel_code_selector, 0, false),
              detail::flat_data(kernel_data_selector, 0), no_task, no_ldt};
    case cpu_mode::real16:
      break;
  }
  return {detail::real_mode(code_type), detail::real_mode(data_type), no_task, no_ldt};
}

/// Returns the descriptor from which the processor would load `s`; for a TSS, its lower half.
constexpr std::uint64_t descriptor(const segment& s) {
  const std::uint64_t limit = s.g != 0 ? s.limit >> 12 : s.limit;
  const auto at = [](std::uint64_t value, unsigned bit) { return value << bit; };
  return (limit & 0xffff) | at(s.base & 0xffffff, 16) | at(s.type, 40) | at(s.s, 44) |
         at(s.dpl, 45) | at(s.present, 47) | at(limit >> 16 & 0xf, 48) | at(s.avl, 52) |
         at(s.l, 53) | at(s.db, 54) | at(s.g, 55) | at(s.base >> 24 & 0xff, 56);
}

/// Returns the global descriptor table of a user64 guest. Whatever CPL 3 can load from it leaves
/// it where it is: there is no 32-bit code segment, because in compatibility mode the bytes that
/// were checked when the image was made would be other instructions, and no gate, because a gate
/// is a way to another privilege level.
constexpr std::array<std::byte, gdt_size> gdt() {
  std::array<std::byte, gdt_size> bytes{};
  const auto put = [&](const segment& s) {
    store(bytes, s.selector & ~std::size_t{7}, descriptor(s));
  };
  const segment_set user = segments_of(cpu_mode::user64);
  const segment_set kernel = segments_of(cpu_mode::long64);
  put(kernel.code);
  put(kernel.data);
  put(user.data);
  put(user.code);
  put(user.task);
  static_assert(tss_address >> 32 == 0, "the upper half of the TSS descriptor is left zero");
  return bytes;
}

namespace detail {
/// Returns whether loading the descriptor at CPL 3 changes neither mode nor privilege: null, flat
/// data, 64-bit non-conforming code, or the busy TSS (which only ring 0 could load).
constexpr bool is_inert(std::uint64_t d) {
  const bool dpl3 = (d >> 45 & 3) == 3;
  const std::uint8_t dpl = dpl3 ? 3 : 0;
  return d == 0 || d == descriptor(flat_code(0, dpl, true)) || d == descriptor(flat_data(0, dpl)) ||
         d == descriptor(segments_of(cpu_mode::user64).task);
}

constexpr bool gdt_is_inert() {
  const auto bytes = gdt();
  for (std::size_t i = 0; i < gdt_size; i += 8) {
    if (!is_inert(load<std::uint64_t>(bytes, i))) return false;
  }
  return true;
}
}  // namespace detail

static_assert(detail::gdt_is_inert());

/// Returns whether `tss` lets CPL 3 access `width` ports from `port`, decided as the processor
/// does it (SDM vol. 1, 19.5.2): two bytes are read, and both must be within the TSS.
constexpr bool permits_port(std::span<const std::byte> tss, std::size_t port, unsigned width) {
  const std::size_t at = load<std::uint16_t>(tss, 0x66) + port / 8;
  if (at + 2 > tss.size()) return false;
  const unsigned mask = ((1U << width) - 1) << (port % 8);
  return (load<std::uint16_t>(tss, at) & mask) == 0;
}

/// Returns the task state whose traps run on the stack that ends at `trap_stack_top`, and whose
/// I/O bitmap opens the twelve ports of done_port, hypercall_port and system_call_port. A bitmap
/// cannot tell widths apart: the host must refuse what is not 4 bytes to one of these three.
constexpr std::array<std::byte, tss_size> tss(std::uint64_t trap_stack_top) {
  std::array<std::byte, tss_size> bytes{};
  store(bytes, 0x04, trap_stack_top);
  store(bytes, 0x66, static_cast<std::uint16_t>(io_bitmap_offset));
  std::fill(bytes.begin() + io_bitmap_offset, bytes.end(), std::byte{0xff});
  static_assert(done_port % 8 == 0 && hypercall_port == done_port + 4 &&
                system_call_port == done_port + 8);
  bytes[io_bitmap_offset + done_port / 8] = std::byte{0};
  bytes[io_bitmap_offset + system_call_port / 8] = std::byte{0xf0};
  return bytes;
}

namespace detail {
constexpr bool only_our_ports_are_open() {
  const auto bytes = tss(0);
  for (std::size_t port = 0; port < 0x200; ++port) {
    const bool ours = port >= done_port && port < system_call_port + 4;
    if (permits_port(bytes, port, 1) != ours) return false;
  }
  return permits_port(bytes, done_port, 4) && permits_port(bytes, hypercall_port, 4) &&
         permits_port(bytes, system_call_port, 4);
}
}  // namespace detail

static_assert(detail::only_our_ports_are_open());

/// Returns the interrupt descriptor table: every exception enters its stub at CPL 0 by an
/// interrupt gate. Only #BP may be raised by an instruction (INT3), so `int n` is a #GP.
constexpr std::array<std::byte, idt_size> idt() {
  std::array<std::byte, idt_size> bytes{};
  for (std::size_t vector = 0; vector < vector_count; ++vector) {
    const std::uint64_t stub = trap_stub_address(vector);
    const std::uint64_t access = vector == 3 ? 0xee : 0x8e;  // P, DPL, 64-bit interrupt gate
    store(bytes, vector * 16,
          (stub & 0xffff) | std::uint64_t{kernel_code_selector} << 16 | access << 40 |
              (stub >> 16 & 0xffff) << 48);
    store(bytes, vector * 16 + 8, stub >> 32);
  }
  return bytes;
}

/// Returns the page at tables_page: GDT, TSS and IDT of a user64 guest.
constexpr page tables_page_bytes(std::uint64_t trap_stack_top) {
  static_assert(gdt_offset + gdt_size <= tss_offset && tss_offset + tss_size <= idt_offset &&
                idt_offset + idt_size <= page_size);
  page bytes{};
  const auto put = [&](std::size_t offset, const auto& table) {
    std::copy(table.begin(), table.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
  };
  put(gdt_offset, gdt());
  put(tss_offset, tss(trap_stack_top));
  put(idt_offset, idt());
  return bytes;
}

}  // namespace virtine::x86
