// The processor that this process runs on, by its own word: who made it, what it has, and the
// extended state that it keeps. Must not ask KVM.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <virtine/machine/extended_state.hpp>
#include <virtine/x86/processor.hpp>

#include "files.hpp"
#include "report.hpp"

namespace doctor {

using virtine::x86::cpuid_answer;

/// Returns what CPUID says; zeros for a leaf that it does not have.
inline cpuid_answer cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  const std::uint32_t last = virtine::x86::native_cpuid(leaf & 0x80000000).eax;
  return leaf <= last ? virtine::x86::native_cpuid(leaf, subleaf) : cpuid_answer{};
}

inline std::string hex(const cpuid_answer& leaf) {
  char out[40];
  std::snprintf(out, sizeof out, "%08x %08x %08x %08x", leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
  return out;
}

/// Returns the text that registers hold, in the order given.
template <class... Registers>
std::string letters(Registers... registers) {
  std::string text;
  for (const unsigned four : {registers...}) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
      if (const char c = static_cast<char>(four >> shift); c != 0) text += c;
    }
  }
  return text;
}

/// Returns the names, commas between them, of the faults that the kernel says it does not mitigate.
inline std::string unmitigated() {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& entry :
       std::filesystem::directory_iterator("/sys/devices/system/cpu/vulnerabilities", missing)) {
    if (first_line(entry.path()).starts_with("Vulnerable"))
      names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all.empty() ? "none that the kernel tells of" : all;
}

inline void examine_processor(report& out) {
  out.begin("processor");
  const cpuid_answer maker = cpuid(0);
  const cpuid_answer first = cpuid(1);
  out.add("vendor", letters(maker.ebx, maker.edx, maker.ecx));
  out.add("model_name", field("/proc/cpuinfo", "model name"));
  // SDM vol. 2, CPUID leaf 1: the extended parts count for the families 6 and 15.
  const unsigned family = first.eax >> 8 & 0xf;
  out.add("family", std::uint64_t{family == 0xf ? family + (first.eax >> 20 & 0xff) : family});
  const unsigned model = first.eax >> 4 & 0xf;
  out.add("model",
          std::uint64_t{family == 0xf || family == 6 ? model | (first.eax >> 12 & 0xf0) : model});
  out.add("stepping", std::uint64_t{first.eax & 0xf});
  out.add("microcode", field("/proc/cpuinfo", "microcode"));
  const bool virtualised = (first.ecx & 1u << 31) != 0;
  if (virtualised) {
    // Not by cpuid(), because these leaves have a last one of their own.
    const cpuid_answer by = virtine::x86::native_cpuid(0x40000000);
    out.add("hypervisor", letters(by.ebx, by.ecx, by.edx),
            "an exit from a virtine may pass through it and cost several times more");
  } else {
    out.add("hypervisor", "none");
  }
  for (const unsigned leaf : {1u, 7u, 0x80000001u, 0x80000008u}) {
    out.add("leaf_" + hex(leaf).substr(2), hex(cpuid(leaf)));
  }
  out.add("not_mitigated", unmitigated());
}

/// Returns the names of the components in a mask.
inline std::string components(std::uint64_t mask) {
  std::string names;
  for (unsigned i = 0; i < 64; ++i) {
    if ((mask >> i & 1) == 0) continue;
    names += std::string(names.empty() ? "" : ", ") + virtine::detail::component_name(i);
  }
  return names.empty() ? "nothing" : names;
}

inline void examine_extended_state(report& out) {
  out.begin("extended_state");
  const cpuid_answer first = cpuid(1);
  const bool xsave = (first.ecx & 1u << 26) != 0;
  const bool osxsave = (first.ecx & 1u << 27) != 0;
  out.add("xsave", xsave, xsave ? "" : "the processor, or a hypervisor's choice, has none");
  out.add("osxsave", osxsave, xsave && !osxsave ? "this kernel does not use it" : "");
  if (!xsave) return;
  const cpuid_answer main = cpuid(0xd, 0);
  const cpuid_answer more = cpuid(0xd, 1);
  out.add("leaf_d_0", hex(main));
  out.add("leaf_d_1", hex(more));
  if (osxsave) {
    const std::uint64_t xcr0 = virtine::x86::native_xcr0();
    out.add("xcr0", hex(xcr0), components(xcr0));
  }
  out.add("bytes_enabled", std::uint64_t{main.ebx});
  out.add("bytes_at_most", std::uint64_t{main.ecx});
  out.add("xsaveopt", (more.eax & 1) != 0);
  out.add("xsavec", (more.eax & 2) != 0);
  out.add("xgetbv_1", (more.eax & 4) != 0);
  out.add("xsaves", (more.eax & 8) != 0);
  out.add("xfd", (more.eax & 16) != 0);
  // User components in XCR0, supervisor components in XSS.
  const std::uint64_t all =
      (std::uint64_t{main.edx} << 32 | main.eax) | (std::uint64_t{more.edx} << 32 | more.ecx);
  for (unsigned i = 2; i < 63; ++i) {
    if ((all >> i & 1) == 0) continue;
    const cpuid_answer part = cpuid(0xd, i);
    out.add("component_" + std::to_string(i),
            std::to_string(part.eax) + " bytes at " + std::to_string(part.ebx) +
                ((part.ecx & 1) != 0 ? ", of XSS" : ", of XCR0"),
            components(std::uint64_t{1} << i));
  }
}

}  // namespace doctor
