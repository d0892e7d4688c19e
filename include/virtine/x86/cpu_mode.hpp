// The processor modes a guest can start in, and the control registers that make each of them.
// Must not know of segments, memory or KVM.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cstdint>

namespace virtine::x86 {

/// Says in which mode a guest starts.
enum class cpu_mode : std::uint8_t {
  user64,       ///< Long mode at CPL 3 behind our page tables; the mode of compiled functions.
  real16,       ///< Real mode, no paging.
  protected32,  ///< Flat 32-bit protected mode at CPL 0, no paging.
  long64,       ///< Flat long mode at CPL 0 on an identity map.
};

/// Returns the mode's name as it is spelled in the source.
constexpr const char* name(cpu_mode mode) {
  switch (mode) {
    case cpu_mode::user64:
      return "user64";
    case cpu_mode::real16:
      return "real16";
    case cpu_mode::protected32:
      return "protected32";
    case cpu_mode::long64:
      return "long64";
  }
  return "unknown";
}

// CR0, CR4 (SDM vol. 3, 2.5) and EFER (SDM vol. 3, 2.2.1).
inline constexpr std::uint64_t cr0_pe = 1U << 0;   ///< Protected mode.
inline constexpr std::uint64_t cr0_mp = 1U << 1;   ///< WAIT obeys TS.
inline constexpr std::uint64_t cr0_et = 1U << 4;   ///< Fixed to 1 in all current processors.
inline constexpr std::uint64_t cr0_ne = 1U << 5;   ///< x87 errors raise #MF, not an interrupt.
inline constexpr std::uint64_t cr0_wp = 1U << 16;  ///< Read-only pages bind CPL 0 too.
inline constexpr std::uint64_t cr0_am = 1U << 18;  ///< RFLAGS.AC checks alignment at CPL 3.
inline constexpr std::uint64_t cr0_pg = 1U << 31;  ///< Paging.

inline constexpr std::uint64_t cr4_pae = 1U << 5;
inline constexpr std::uint64_t cr4_osfxsr = 1U << 9;       ///< SSE, FXSAVE and FXRSTOR of XMM.
inline constexpr std::uint64_t cr4_osxmmexcpt = 1U << 10;  ///< SSE errors raise #XM, not #UD.
inline constexpr std::uint64_t cr4_fsgsbase = 1U << 16;    ///< WRFSBASE and its kin at any CPL.
inline constexpr std::uint64_t cr4_osxsave = 1U << 18;     ///< XSAVE, XRSTOR, XGETBV and AVX.

inline constexpr std::uint64_t efer_lme = 1U << 8;   ///< Long mode enabled.
inline constexpr std::uint64_t efer_lma = 1U << 10;  ///< Long mode active; KVM wants both.
inline constexpr std::uint64_t efer_nxe = 1U << 11;  ///< No-execute page table entries.

inline constexpr std::uint64_t rflags_fixed = 1U << 1;  ///< Always 1.
inline constexpr std::uint64_t rflags_if = 1U << 9;
inline constexpr std::uint64_t rflags_rf = 1U << 16;

/// Says which optional processor features the guest may use; each must be in its CPUID.
struct cpu_features {
  bool osxsave = false;
  bool fsgsbase = false;
};

/// The registers that select a mode. CR3 is the page tables' business.
struct control_registers {
  std::uint64_t cr0 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;

  friend bool operator==(const control_registers&, const control_registers&) = default;
};

/// Returns the control registers of a guest that starts in `mode`. EFER.SCE is never set: a
/// `syscall` would reach whatever LSTAR holds, and not every KVM raises the privilege there.
constexpr control_registers control_registers_of(cpu_mode mode, cpu_features features = {}) {
  constexpr std::uint64_t flat = cr0_pe | cr0_mp | cr0_et | cr0_ne;
  constexpr std::uint64_t paged = flat | cr0_wp | cr0_am | cr0_pg;
  constexpr std::uint64_t sse = cr4_osfxsr | cr4_osxmmexcpt;
  const std::uint64_t optional =
      (features.osxsave ? cr4_osxsave : 0) | (features.fsgsbase ? cr4_fsgsbase : 0);
  switch (mode) {
    case cpu_mode::user64:
    case cpu_mode::long64:
      return {paged, cr4_pae | sse | optional, efer_lme | efer_lma | efer_nxe};
    case cpu_mode::protected32:
      return {flat, sse | optional, 0};
    case cpu_mode::real16:
      break;
  }
  return {cr0_et | cr0_ne, sse | optional, 0};
}

/// Returns the RFLAGS a guest starts with, in every mode. IOPL is 0, so that at CPL 3 the TSS's I/O
/// bitmap alone opens ports, and CLI and POPF cannot touch IF. IF is set although no interrupt can
/// arrive, because one emulated VMX host holds back its own interrupts while a guest has it clear.
inline constexpr std::uint64_t initial_rflags = rflags_fixed | rflags_if;

static_assert(control_registers_of(cpu_mode::user64) ==
              control_registers{0x80050033, 0x620, 0xd00});
static_assert(control_registers_of(cpu_mode::user64, {.osxsave = true, .fsgsbase = true}).cr4 ==
              0x50620);

}  // namespace virtine::x86
