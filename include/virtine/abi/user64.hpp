// The fixed numbers of a user64 guest: addresses, ports and selectors that host and guest agree on.
// Must not know how the structures at those addresses are made.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace virtine::x86 {

inline constexpr std::size_t page_size = 4096;

/// The bytes of one guest page.
using page = std::array<std::byte, page_size>;

// Memory, virtual = physical. Above the image's stack lie the trap stack page (supervisor,
// writable) and the page tables, which are mapped nowhere; their addresses depend on the image.
inline constexpr std::uint64_t null_guard_end = 0x10000;   ///< No memory below this address.
inline constexpr std::uint64_t tables_page = 0x10000;      ///< GDT, TSS, IDT: supervisor, R, NX.
inline constexpr std::uint64_t trap_stub_page = 0x11000;   ///< Supervisor, RX.
inline constexpr std::uint64_t trampoline_page = 0x12000;  ///< User, RX.
inline constexpr std::uint64_t image_base = 0x20000;       ///< Where images are linked.

// Where the tables are within their page.
inline constexpr std::size_t gdt_offset = 0x000;
inline constexpr std::size_t tss_offset = 0x100;
inline constexpr std::size_t idt_offset = 0x200;
inline constexpr std::uint64_t gdt_address = tables_page + gdt_offset;
inline constexpr std::uint64_t tss_address = tables_page + tss_offset;
inline constexpr std::uint64_t idt_address = tables_page + idt_offset;

// Ports. The guest writes 4 bytes to the first three; trap stubs write 1 byte to base + vector.
inline constexpr std::uint16_t done_port = 0xe0;
inline constexpr std::uint16_t hypercall_port = 0xe4;
inline constexpr std::uint16_t system_call_port = 0xe8;  ///< In place of a `syscall` instruction.
inline constexpr std::uint16_t trap_port_base = 0xc0;

// Selectors. 0x2b and 0x33 are where Linux keeps its own 64-bit user segments, because a software
// KVM (kvm_pvm) runs CPL 3 on the host kernel's GDT; with any others it would emulate the guest.
inline constexpr std::uint16_t kernel_code_selector = 0x08;
inline constexpr std::uint16_t kernel_data_selector = 0x10;
inline constexpr std::uint16_t user_data_selector = 0x28 | 3;
inline constexpr std::uint16_t user_code_selector = 0x30 | 3;
inline constexpr std::uint16_t task_selector = 0x38;

inline constexpr std::size_t vector_count = 32;    ///< Exceptions; there are no interrupts.
inline constexpr std::size_t trap_stub_size = 16;  ///< Bytes from one stub to the next.

/// Returns the guest address of the code that exception `vector` (below vector_count) runs.
constexpr std::uint64_t trap_stub_address(std::size_t vector) {
  return trap_stub_page + vector * trap_stub_size;
}

static_assert(null_guard_end <= tables_page && trampoline_page + page_size <= image_base);
static_assert(trap_stub_address(vector_count) <= trap_stub_page + page_size);
static_assert(trap_port_base + vector_count <= done_port && done_port + 4 <= hypercall_port &&
              hypercall_port + 4 <= system_call_port);

}  // namespace virtine::x86
