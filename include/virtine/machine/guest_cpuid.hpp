// What CPUID tells guests: of what KVM offers, that whose state the library knows to be wiped
// between calls, or that has none. Makes no system call.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>

#include <virtine/kvm/uapi.hpp>
#include <virtine/machine/extended_state.hpp>

namespace virtine::detail {

struct named_bit {
  unsigned bit;
  const char* name;  // As the manuals have it.
};

constexpr std::uint32_t bits(std::initializer_list<named_bit> kept) {
  std::uint32_t mask = 0;
  for (const named_bit& each : kept) mask |= 1U << each.bit;
  return mask;
}

inline constexpr std::uint32_t whole_register = ~0U;  ///< Of one: numbers and texts.
inline constexpr std::uint32_t any_index = ~0U;

/// What guests may see of one leaf.
struct kept_leaf {
  std::uint32_t function = 0;
  std::uint32_t index = any_index;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
};

inline constexpr std::uint32_t last_basic_leaf = 0x1f;
inline constexpr std::uint32_t last_extended_leaf = 0x80000021;
inline constexpr unsigned xsave_bit = 26;
inline constexpr unsigned osxsave_bit = 27;

// Leaf 01H EDX. AMD has most of it in leaf 80000001H too.
inline constexpr std::uint32_t leaf_1_edx = bits({
    {0, "FPU"},
    {3, "PSE"},
    {4, "TSC"},
    {5, "MSR"},
    {6, "PAE"},
    {8, "CX8"},
    {13, "PGE"},
    {15, "CMOV"},
    {17, "PSE-36"},
    {19, "CLFSH"},
    {23, "MMX"},
    {24, "FXSR"},
    {25, "SSE"},
    {26, "SSE2"},
    {27, "SS"},
    {28, "HTT"},
});
inline constexpr std::uint32_t shared_by_amd = bits({{0, "FPU"},
                                                     {3, "PSE"},
                                                     {4, "TSC"},
                                                     {5, "MSR"},
                                                     {6, "PAE"},
                                                     {8, "CMPXCHG8B"},
                                                     {13, "PGE"},
                                                     {15, "CMOV"},
                                                     {17, "PSE36"},
                                                     {23, "MMX"},
                                                     {24, "FXSR"}});

/// All that guests may see, but for leaf 0DH. Whatever is not here reads as 0: features with state
/// that no wipe covers, with MSRs, which are closed, and those that nobody knew of when this was
/// written. Before a bit is added, show that what it lets CPL 3 and CPL 0 change is wiped. Bits are
/// of the SDM, vol. 2, CPUID, from 80000000H on of the APM, vol. 3, appendix E.
inline constexpr std::array kept_leaves{
    // The highest leaf, and the maker.
    kept_leaf{.function = 0,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    // Signature, CLFLUSH size, APIC id, features.
    kept_leaf{.function = 1,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = bits({{0, "SSE3"},
                           {1, "PCLMULQDQ"},
                           {9, "SSSE3"},
                           {12, "FMA"},
                           {13, "CMPXCHG16B"},
                           {19, "SSE4.1"},
                           {20, "SSE4.2"},
                           {22, "MOVBE"},
                           {23, "POPCNT"},
                           {25, "AES"},
                           {xsave_bit, "XSAVE"},
                           {osxsave_bit, "OSXSAVE"},
                           {28, "AVX"},
                           {29, "F16C"},
                           {30, "RDRAND"},
                           {31, "hypervisor"}}),
              .edx = leaf_1_edx},
    // Caches and TLBs, two descriptions.
    kept_leaf{.function = 2,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 4,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    // Structured extended features. EAX of the first is the highest sub-leaf.
    kept_leaf{.function = 7,
              .index = 0,
              .eax = whole_register,
              .ebx = bits({{0, "FSGSBASE"},
                           {3, "BMI1"},
                           {5, "AVX2"},
                           {6, "FDP_EXCPTN_ONLY"},
                           {8, "BMI2"},
                           {9, "ERMS"},
                           {13, "FCS and FDS deprecated"},
                           {16, "AVX512F"},
                           {17, "AVX512DQ"},
                           {18, "RDSEED"},
                           {19, "ADX"},
                           {21, "AVX512_IFMA"},
                           {23, "CLFLUSHOPT"},
                           {24, "CLWB"},
                           {26, "AVX512PF"},
                           {27, "AVX512ER"},
                           {28, "AVX512CD"},
                           {29, "SHA"},
                           {30, "AVX512BW"},
                           {31, "AVX512VL"}}),
              .ecx = bits({{0, "PREFETCHWT1"},
                           {1, "AVX512_VBMI"},
                           {6, "AVX512_VBMI2"},
                           {8, "GFNI"},
                           {9, "VAES"},
                           {10, "VPCLMULQDQ"},
                           {11, "AVX512_VNNI"},
                           {12, "AVX512_BITALG"},
                           {14, "AVX512_VPOPCNTDQ"},
                           {22, "RDPID"},
                           {27, "MOVDIRI"},
                           {28, "MOVDIR64B"}}),
              .edx = bits({{2, "AVX512_4VNNIW"},
                           {3, "AVX512_4FMAPS"},
                           {4, "FSRM"},
                           {8, "AVX512_VP2INTERSECT"},
                           {14, "SERIALIZE"},
                           {23, "AVX512_FP16"}})},
    kept_leaf{.function = 7,
              .index = 1,
              .eax = bits({{0, "SHA512"},
                           {1, "SM3"},
                           {2, "SM4"},
                           {4, "AVX-VNNI"},
                           {5, "AVX512_BF16"},
                           {7, "CMPCCXADD"},
                           {10, "fast zero-length REP MOVSB"},
                           {11, "fast short REP STOSB"},
                           {12, "fast short REP CMPSB, SCASB"},
                           {23, "AVX-IFMA"}}),
              .edx = bits({{4, "AVX-VNNI-INT8"},
                           {5, "AVX-NE-CONVERT"},
                           {10, "AVX-VNNI-INT16"},
                           {14, "PREFETCHI"}})},
    // Topology, and what it was called later.
    kept_leaf{.function = 0xb,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 0x1f,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    // Frequencies: of the time stamp counter, of the processor.
    kept_leaf{
        .function = 0x15, .eax = whole_register, .ebx = whole_register, .ecx = whole_register},
    kept_leaf{
        .function = 0x16, .eax = whole_register, .ebx = whole_register, .ecx = whole_register},
    // The highest leaf, and the maker.
    kept_leaf{.function = 0x80000000,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    // Signature, brand, features.
    kept_leaf{.function = 0x80000001,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = bits({{0, "LahfSahf"},
                           {1, "CmpLegacy"},
                           {5, "ABM"},
                           {6, "SSE4A"},
                           {7, "MisAlignSse"},
                           {8, "3DNowPrefetch"},
                           {11, "XOP"},
                           {16, "FMA4"},
                           {21, "TBM"},
                           {22, "TopologyExtensions"}}),
              .edx = shared_by_amd | bits({{20, "NX"},
                                           {22, "MmxExt"},
                                           {26, "Page1GB"},
                                           {27, "RDTSCP"},
                                           {29, "LM"},
                                           {30, "3DNowExt"},
                                           {31, "3DNow"}})},
    // The processor's name.
    kept_leaf{.function = 0x80000002,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 0x80000003,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 0x80000004,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    // Caches and TLBs.
    kept_leaf{.function = 0x80000005,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 0x80000006,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 0x80000007, .edx = bits({{8, "TscInvariant"}})},
    // Sizes of addresses, features, how many processors.
    kept_leaf{.function = 0x80000008,
              .eax = 0x00ffffff,
              .ebx = bits({{0, "CLZERO"}, {2, "RstrFpErrPtrs"}}),
              .ecx = 0x0000f0ff},
    // TLBs of 1 GiB pages, what is fast, caches, topology.
    kept_leaf{.function = 0x80000019, .eax = whole_register, .ebx = whole_register},
    kept_leaf{.function = 0x8000001a,
              .eax = bits({{0, "FP128"}, {1, "MOVU"}, {2, "FP256"}, {3, "FP512"}})},
    kept_leaf{.function = 0x8000001d,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register,
              .edx = whole_register},
    kept_leaf{.function = 0x8000001e,
              .eax = whole_register,
              .ebx = whole_register,
              .ecx = whole_register},
    kept_leaf{.function = 0x80000021,
              .eax = bits({{2, "LFenceAlwaysSerializing"},
                           {6, "NullSelectClearsBase"},
                           {10, "FastShortRepStosb"},
                           {11, "FastShortRepCmpsb"}})},
};

/// Leaf 0DH as it is on a processor that has no other components than those of `xcr0`.
constexpr bool keep_extended_state(kvm_cpuid_entry2& leaf, const extended_state& offered,
                                   std::uint64_t xcr0) {
  if (xcr0 == 0) return false;
  if (leaf.index == 0) {
    leaf.eax = static_cast<std::uint32_t>(xcr0);
    leaf.ebx = leaf.ecx = static_cast<std::uint32_t>(offered.standard_size(xcr0));
    leaf.edx = static_cast<std::uint32_t>(xcr0 >> 32);
    return true;
  }
  if (leaf.index == 1) {
    constexpr std::uint32_t xsavec = 1U << 1;
    leaf.eax &= bits({{0, "XSAVEOPT"}, {1, "XSAVEC"}, {2, "XGETBV with ECX = 1"}});
    leaf.ebx =
        (leaf.eax & xsavec) != 0 ? static_cast<std::uint32_t>(offered.compacted_size(xcr0)) : 0;
    leaf.ecx = leaf.edx = 0;  // No supervisor state.
    return true;
  }
  return leaf.index < extended_state::max_components && (xcr0 >> leaf.index & 1) != 0;
}

/// Reduces a leaf to what guests may see of it. Returns false if that is nothing.
constexpr bool keep(kvm_cpuid_entry2& leaf, const extended_state& offered, std::uint64_t xcr0) {
  if (leaf.function == 0xd) return keep_extended_state(leaf, offered, xcr0);
  const auto* const found =
      std::find_if(kept_leaves.begin(), kept_leaves.end(), [&](const kept_leaf& kept) {
        return kept.function == leaf.function &&
               (kept.index == any_index || kept.index == leaf.index);
      });
  if (found == kept_leaves.end()) return false;
  leaf.eax &= found->eax;
  leaf.ebx &= found->ebx;
  leaf.ecx &= found->ecx;
  leaf.edx &= found->edx;
  switch (leaf.function) {
    case 0:
      leaf.eax = std::min(leaf.eax, last_basic_leaf);
      break;
    case 1:
      if (xcr0 == 0) leaf.ecx &= ~(1U << xsave_bit | 1U << osxsave_bit);
      break;
    case 7:
      if (leaf.index == 0) leaf.eax = std::min(leaf.eax, 1U);
      break;
    case 0x80000000:
      leaf.eax = std::min(leaf.eax, last_extended_leaf);
      break;
    case 0x80000008: {
      // No five-level paging, and so no addresses of 57 bits.
      const std::uint32_t linear = std::min(leaf.eax >> 8 & 0xff, 48U);
      leaf.eax = (leaf.eax & ~0xff00U) | linear << 8;
      break;
    }
    default:
      break;
  }
  return true;
}

/// Returns the components that guests have in XCR0, of what KVM `offers`: x87 and SSE, AVX, and
/// AVX-512 if all three parts of it are there; 0 without XSAVE. Not PKRU, MPX, AMX or APX.
constexpr std::uint64_t guest_xcr0(const extended_state& offered) {
  constexpr std::uint64_t legacy = xcr0_x87 | xcr0_sse;
  const auto has = [&](std::uint64_t bits) { return (offered.components & bits) == bits; };
  if (!has(legacy)) return 0;
  if (!has(xcr0_avx)) return legacy;
  return legacy | xcr0_avx | (has(xcr0_avx512) ? xcr0_avx512 : 0);
}

/// Returns what CPUID tells guests that have `xcr0` where KVM offers `supported`. Nothing is added:
/// a bit that KVM does not offer is 0.
constexpr kvm::cpuid_table guest_cpuid(const kvm::cpuid_table& supported, std::uint64_t xcr0) {
  kvm::cpuid_table kept;
  const extended_state offered = extended_state::of(supported);
  const std::uint32_t count = std::min(supported.nent, kvm::cpuid_table::capacity);
  for (std::uint32_t i = 0; i < count; ++i) {
    kept.entries[kept.nent] = supported.entries[i];
    if (keep(kept.entries[kept.nent], offered, xcr0)) ++kept.nent;
  }
  if (kept.nent < count) kept.entries[kept.nent] = {};
  return kept;
}

}  // namespace virtine::detail
