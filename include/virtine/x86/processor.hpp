// The processor that this very code runs on, as its instructions tell of it.
// Must not know what anybody wants to learn from it.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cstdint>

namespace virtine::x86 {

/// The four registers in which CPUID answers.
struct cpuid_answer {
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;

  friend bool operator==(const cpuid_answer&, const cpuid_answer&) = default;
};

/// Executes CPUID. In a virtual machine that is an exit, so some microseconds.
inline cpuid_answer native_cpuid(std::uint32_t function, std::uint32_t index = 0) {
  cpuid_answer out;
  // Sound: it changes the four registers alone; every x86-64 processor has it.
  asm volatile("cpuid"
               : "=a"(out.eax), "=b"(out.ebx), "=c"(out.ecx), "=d"(out.edx)
               : "a"(function), "c"(index));
  return out;
}

/// Returns the state components that the operating system has turned on for XSAVE and XRSTOR, or 0
/// if it uses neither.
inline std::uint64_t native_xcr0() {
  constexpr std::uint32_t osxsave = 1U << 27;
  if ((native_cpuid(1).ecx & osxsave) == 0) return 0;
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  // Sound: XGETBV is there where OSXSAVE is (SDM vol. 2, XGETBV), and has no effect.
  asm volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
  return low | std::uint64_t{high} << 32;
}

}  // namespace virtine::x86
