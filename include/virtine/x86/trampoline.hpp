// The code through which every call enters a user64 guest: it wipes what the host does not.
// Must not know what the called function is or where its arguments come from.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <virtine/abi/little_endian.hpp>
#include <virtine/abi/user64.hpp>
#include <virtine/x86/code_writer.hpp>
#include <virtine/x86/loops.hpp>

namespace virtine::x86 {

// Offsets in the trampoline's page.
inline constexpr std::size_t entry_distance = 0x80;          ///< From one entry to the next.
inline constexpr std::size_t thread_pointer_offset = 0x1f0;  ///< The base of FS; 0 leaves it 0.
inline constexpr std::size_t call_address_offset = 0x1f8;    ///< The value of RSP at each entry.
inline constexpr std::size_t init_state_offset = 0x200;      ///< What the entries restore from.
inline constexpr std::size_t init_state_size = 512 + 64;     ///< Legacy area and XSAVE header.
/// Bytes from the init state to the image. XRSTOR loads nothing from behind the header, because
/// XSTATE_BV is 0, but touches as much as the components of XCR0 take, whatever those are.
inline constexpr std::size_t init_state_room = image_base - (trampoline_page + init_state_offset);

/// How an entry wipes x87 and vector state: what the processor and its host need.
enum class vector_wipe : std::uint8_t {
  xrstor,         ///< Needs CR4.OSXSAVE, and a processor whose XRSTOR clears the x87 pointers.
  fninit_xrstor,  ///< Needs CR4.OSXSAVE.
  fxrstor,        ///< Needs CR4.OSFXSR only.
};
inline constexpr std::array vector_wipes{vector_wipe::xrstor, vector_wipe::fninit_xrstor,
                                         vector_wipe::fxrstor};

static_assert(init_state_offset % 64 == 0, "XRSTOR faults on an area that is not 64-byte aligned");
static_assert(init_state_offset + init_state_size <= batch_offset && loops_end <= page_size);
static_assert(done_port < 0x100 && user_data_selector < 0x100, "both are emitted as one byte");

/// What the host puts at the top of the stack before each entry, and the trampoline pops.
struct call_record {
  std::uint64_t function = 0;  ///< Guest address to call, with RDI = frame.
  std::uint64_t frame = 0;
};

/// Returns the guest address at which to enter a guest whose state is unknown; only RIP has to be
/// set, and RFLAGS without TF. When the function returns, its EAX is written to done_port, and
/// going on from there enters again.
constexpr std::uint64_t trampoline_entry(vector_wipe how) {
  return trampoline_page + static_cast<std::size_t>(how) * entry_distance;
}

namespace detail {
/// Writes one entry; returns the offset of its `out`.
constexpr std::size_t write_entry(page& out, vector_wipe how) {
  const std::size_t entry = trampoline_entry(how) - trampoline_page;
  code_writer code(out, entry);
  // First, because it is the access that fails if the guest before has left protection keys or, on
  // a host that lets it, a 32-bit code segment: then the operand is an address in the null guard.
  code.emit_relative({0x48, 0x8b, 0x25}, call_address_offset);  // mov rsp, [rel call_address]
  // Before the restore, because on some AMD processors that leaves the x87 instruction and operand
  // pointers of the previous call unless an exception is pending (APM vol. 2, 11.4.4).
  if (how != vector_wipe::xrstor) code.emit({0xdb, 0xe3});  // fninit
  if (how != vector_wipe::fxrstor) {
    // All components that XCR0 has, so AVX-512, PKRU and AMX tiles too; XSTATE_BV is 0.
    code.emit({0x83, 0xc8, 0xff});                                    // or eax, -1
    code.emit({0x83, 0xca, 0xff});                                    // or edx, -1
    code.emit_relative({0x48, 0x0f, 0xae, 0x2d}, init_state_offset);  // xrstor64 [rel init_state]
    // Because not all implementations load MXCSR from an area whose XSTATE_BV lacks SSE.
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
  // No descriptor of ours could have the base, because not every host runs CPL 3 on our GDT.
  code.emit_relative({0x48, 0x8b, 0x0d}, thread_pointer_offset);  // mov rcx, [rel thread_pointer]
  code.emit({0xe3, 0x05});                                        // jrcxz over
  code.emit({0xf3, 0x48, 0x0f, 0xae, 0xd1});                      // wrfsbase rcx
  code.emit({0x68, 0x02, 0x02, 0x00, 0x00});                      // push 0x202
  code.emit({0x9d});                                              // popfq
  code.emit({0x31, 0xc9});                                        // xor ecx, ecx
  code.emit({0x31, 0xd2});                                        // xor edx, edx
  code.emit({0x31, 0xdb});                                        // xor ebx, ebx
  code.emit({0x31, 0xed});                                        // xor ebp, ebp
  code.emit({0x31, 0xf6});                                        // xor esi, esi
  for (unsigned low = 0; low < 8; ++low) {
    code.emit({0x45, 0x31, 0xc0 | low << 3 | low});  // xor r8d, r8d ... xor r15d, r15d
  }
  code.emit({0x58});        // pop rax
  code.emit({0x5f});        // pop rdi
  code.emit({0xff, 0xd0});  // call rax
  const std::size_t exit = code.at();
  code.emit({0xe7, done_port});       // out done_port, eax
  code.emit_relative({0xe9}, entry);  // jmp entry
  return exit;
}

/// The page, and where each entry's `out` instruction is.
struct made_trampoline {
  page bytes{};
  std::array<std::size_t, vector_wipes.size()> exits{};
};

constexpr made_trampoline make_trampoline() {
  made_trampoline made;
  made.bytes.fill(std::byte{0xcc});
  for (const vector_wipe how : vector_wipes) {
    made.exits[static_cast<std::size_t>(how)] = write_entry(made.bytes, how);
  }
  store(made.bytes, thread_pointer_offset, std::uint64_t{0});
  store(made.bytes, call_address_offset, std::uint64_t{0});
  for (std::size_t i = 0; i < init_state_size; ++i) {
    made.bytes[init_state_offset + i] = std::byte{0};
  }
  store(made.bytes, init_state_offset, std::uint16_t{0x37f});        // FCW: all masked, 64 bits
  store(made.bytes, init_state_offset + 24, std::uint32_t{0x1f80});  // MXCSR: all masked
  write_batch_loop(made.bytes);
  write_session_loop(made.bytes);
  return made;
}

inline constexpr made_trampoline trampoline = make_trampoline();
}  // namespace detail

/// Returns the page at trampoline_page: the entries, the state they restore, and the loops of
/// batches and sessions. `call_address` is where the host puts the call_record; 16-byte aligned, it
/// is also the stack of the function but for the record's size. `thread_pointer`, unless it is 0,
/// is the base of FS and takes a processor that has CR4.FSGSBASE set.
constexpr page trampoline_bytes(std::uint64_t call_address, std::uint64_t thread_pointer = 0) {
  page bytes = detail::trampoline.bytes;
  store(bytes, thread_pointer_offset, thread_pointer);
  store(bytes, call_address_offset, call_address);
  return bytes;
}

/// Returns whether an exit at `rip` was made by the trampoline's own `out`, from where the guest
/// can simply go on with the next call. Hosts differ in whether RIP is then at the `out` or after
/// it; neither can be reached by another `out`, because the page is read-only and has no others
/// than those of its entries.
constexpr bool is_trampoline_exit(std::uint64_t rip, vector_wipe how) {
  const std::uint64_t exit =
      trampoline_page + detail::trampoline.exits[static_cast<std::size_t>(how)];
  return rip == exit || rip == exit + 2;
}

/// Returns whether `rip` is in one of the entries, where nothing of the call has run.
constexpr bool in_trampoline(std::uint64_t rip) {
  return rip >= trampoline_page && rip < trampoline_page + thread_pointer_offset;
}

namespace detail {
constexpr bool entries_are_apart() {
  for (const vector_wipe how : vector_wipes) {
    const std::size_t entry = trampoline_entry(how) - trampoline_page;
    if (trampoline.bytes[entry + entry_distance - 1] != std::byte{0xcc}) return false;
    // Because KVM on VMX and SVM takes a RIP that is set to the `out` it last exited on for that
    // instruction's completion, and skips it.
    if (is_out(trampoline.bytes[entry])) return false;
  }
  return true;
}
}  // namespace detail

static_assert(detail::entries_are_apart());
static_assert(vector_wipes.size() * entry_distance <= thread_pointer_offset &&
              detail::trampoline.bytes[session_offset - 1] == std::byte{0xcc} &&
              detail::trampoline.bytes[loops_end] == std::byte{0xcc} &&
              detail::trampoline.bytes[session_nothing - trampoline_page] == std::byte{0xc3});

}  // namespace virtine::x86
