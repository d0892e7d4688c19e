// CPUID tables as processors of several kinds have them, leaf 0DH above all.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include <virtine/kvm/uapi.hpp>
#include <virtine/machine/extended_state.hpp>

namespace processors {

using virtine::kvm::cpuid_table;

inline void add(cpuid_table& table, std::uint32_t function, std::uint32_t index,
                const virtine::x86::cpuid_answer& a) {
  const bool indexed = function == 4 || function == 7 || function == 0xb || function == 0xd ||
                       function == 0x14 || function == 0x1d || function == 0x8000001d;
  table.entries.at(table.nent++) = {.function = function,
                                    .index = index,
                                    .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0U,
                                    .eax = a.eax,
                                    .ebx = a.ebx,
                                    .ecx = a.ecx,
                                    .edx = a.edx,
                                    .padding = {}};
}

/// One component: its number, size, offset and, with `aligned`, bit 1 of ECX.
struct part {
  unsigned number;
  std::uint32_t size;
  std::uint32_t offset;
  bool aligned = false;
};

struct processor {
  const char* name;
  std::string_view maker;  ///< "GenuineIntel", in the order of CPUID's text.
  std::uint64_t components;
  std::uint32_t size;     ///< ECX of leaf 0DH: as the processor says, not computed.
  std::uint32_t variant;  ///< EAX of its sub-leaf 1.
  bool loads_pointers;    ///< Bit 2 of EBX of 80000008H; AMD.
  std::array<part, 10> parts{};
};

// From CPUID dumps of such processors; offsets and sizes do not change within a model.
inline constexpr part avx{2, 256, 576};
inline constexpr part mpx_bounds{3, 64, 960};
inline constexpr part mpx_control{4, 64, 1024};
inline constexpr part intel_opmask{5, 64, 1088};
inline constexpr part intel_zmm_high{6, 512, 1152};
inline constexpr part intel_zmm_16{7, 1024, 1664};
inline constexpr part intel_pkru{9, 8, 2688};
inline constexpr part tile_control{17, 64, 2752};
inline constexpr part tile_data{18, 8192, 2816, true};
inline constexpr part amd_opmask{5, 64, 832};
inline constexpr part amd_zmm_high{6, 512, 896};
inline constexpr part amd_zmm_16{7, 1024, 1408};
inline constexpr part amd_pkru{9, 8, 2432};

inline constexpr std::array known{
    processor{"without XSAVE (Nehalem)", "GenuineIntel", 0, 0, 0, false},
    processor{"Haswell", "GenuineIntel", 0x7, 832, 0x1, false, {avx}},
    processor{"Skylake", "GenuineIntel", 0x1f, 1088, 0xf, false, {avx, mpx_bounds, mpx_control}},
    processor{
        "Skylake-SP",
        "GenuineIntel",
        0x2ff,
        2696,
        0xf,
        false,
        {avx, mpx_bounds, mpx_control, intel_opmask, intel_zmm_high, intel_zmm_16, intel_pkru}},
    processor{"Ice Lake-SP",
              "GenuineIntel",
              0x2e7,
              2696,
              0xf,
              false,
              {avx, intel_opmask, intel_zmm_high, intel_zmm_16, intel_pkru}},
    processor{
        "Sapphire Rapids",
        "GenuineIntel",
        0x602e7,
        11008,
        0x1f,
        false,
        {avx, intel_opmask, intel_zmm_high, intel_zmm_16, intel_pkru, tile_control, tile_data}},
    processor{"with APX and AMX",
              "GenuineIntel",
              0xe02e7,
              11008,
              0x1f,
              false,
              {avx, intel_opmask, intel_zmm_high, intel_zmm_16, intel_pkru, tile_control, tile_data,
               part{19, 128, 960, true}}},
    processor{"Bulldozer",
              "AuthenticAMD",
              0x4000000000000007,
              960,
              0x1,
              false,
              {avx, part{62, 128, 832}}},
    processor{"Zen 2", "AuthenticAMD", 0x7, 832, 0xf, true, {avx}},
    processor{"Zen 3", "AuthenticAMD", 0x207, 2440, 0xf, true, {avx, amd_pkru}},
    processor{"Zen 4",
              "AuthenticAMD",
              0x2e7,
              2440,
              0xf,
              true,
              {avx, amd_opmask, amd_zmm_high, amd_zmm_16, amd_pkru}},
};

/// Returns the leaves of `p` that matter here.
inline cpuid_table table_of(const processor& p) {
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(p.maker[at + i]);
    }
    return value;
  };
  cpuid_table table;
  add(table, 0, 0, {0x1f, word(0), word(8), word(4)});
  add(table, 1, 0, {0x906ea, 0x800, 0xffffffff, 0xffffffff});
  add(table, 7, 0, {2, 0xffffffff, 0xffffffff, 0xffffffff});
  if (p.components != 0) {
    add(table, 0xd, 0,
        {static_cast<std::uint32_t>(p.components), p.size, p.size,
         static_cast<std::uint32_t>(p.components >> 32)});
    add(table, 0xd, 1, {p.variant, p.size, 0x1900, 0});
    for (const part& each : p.parts) {
      if (each.size == 0) continue;
      add(table, 0xd, each.number, {each.size, each.offset, each.aligned ? 2U : 0U, 0});
    }
    add(table, 0xd, 8, {128, 0, 1, 0});  // PT and
    add(table, 0xd, 11, {16, 0, 1, 0});  // CET_U, which XSS turns on.
  }
  add(table, 0x80000000, 0, {0x80000021, word(0), word(8), word(4)});
  add(table, 0x80000008, 0, {0x3930, p.loads_pointers ? 0xfffffffcU | 4 : ~4U, 0, 0});
  return table;
}

}  // namespace processors
