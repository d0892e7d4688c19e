// What of a processor's CPUID reaches guests: what is known, and nothing else.
// SPDX-License-Identifier: MIT
#include <virtine/machine/guest_cpuid.hpp>

#include <memory>

#include "catch.hpp"
#include "processors.hpp"

using namespace virtine;
using namespace virtine::detail;
using x86::cpuid_answer;

namespace {

kvm::cpuid_table told(const kvm::cpuid_table& supported) {
  return guest_cpuid(supported, guest_xcr0(extended_state::of(supported)));
}

constexpr std::uint32_t ones = 0xffffffff;

cpuid_answer at(const kvm::cpuid_table& table, std::uint32_t function, std::uint32_t index = 0) {
  const kvm_cpuid_entry2* e = table.find(function, index);
  return e != nullptr ? cpuid_answer{e->eax, e->ebx, e->ecx, e->edx} : cpuid_answer{};
}

// All bits in all leaves that there could be room for, below and above 80000000H.
kvm::cpuid_table full() {
  kvm::cpuid_table table;
  const cpuid_answer all{ones, ones, ones, ones};
  for (std::uint32_t function = 0; function < 0x30; ++function) {
    if (function == 0xd) continue;  // Of its own, below.
    for (std::uint32_t index = 0; index < (function == 7 ? 4U : 1U); ++index) {
      processors::add(table, function, index, all);
    }
  }
  for (std::uint32_t function = 0x40000000; function < 0x40000008; ++function) {
    processors::add(table, function, 0, all);
  }
  for (std::uint32_t function = 0x80000000; function < 0x80000030; ++function) {
    processors::add(table, function, 0, all);
  }
  for (const std::uint32_t function : {0x20000000u, 0x8fffffffu, 0xc0000000u, 0xc0000001u, ones}) {
    processors::add(table, function, 0, all);
  }
  return table;
}

}  // namespace

TEST_CASE("of all bits in all leaves guests see those that are known", "[processor]") {
  struct expected {
    std::uint32_t function;
    std::uint32_t index;
    cpuid_answer words;
  };
  // Written down from the manuals, not taken from the header.
  const std::array known{
      expected{0, 0, {0x1f, ones, ones, ones}},
      // Not: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, PDCM, PCID, DCA, x2APIC, TSC-deadline;
      // VME, DE, MCE, APIC, SEP, MTRR, MCA, PAT, DS. XSAVE and OSXSAVE need leaf 0DH.
      expected{1, 0, {ones, ones, 0xf2d83203, 0x1f8aa179}},
      expected{2, 0, {ones, ones, ones, ones}},
      expected{4, 0, {ones, ones, ones, ones}},
      // Not: TSC_ADJUST, SGX, HLE, SMEP, INVPCID, RTM, MPX, SMAP, PT; UMIP, PKU, WAITPKG, CET_SS,
      // LA57, KL, ENQCMD, PKS; UINTR, TSXLDTRK, LBR, CET_IBT, AMX, speculation control.
      expected{7, 0, {1, 0xfdaf2369, 0x18405f43, 0x0080411c}},
      // Not: LASS, FRED, LKGS, AMX-FP16, LAM, MSRLIST, APX, AVX10, USER_MSR, CET_SSS.
      expected{7, 1, {0x00801cb7, 0, 0, 0x00004430}},
      expected{0xb, 0, {ones, ones, ones, ones}},
      expected{0x15, 0, {ones, ones, ones, 0}},
      expected{0x16, 0, {ones, ones, ones, 0}},
      expected{0x1f, 0, {ones, ones, ones, ones}},
      expected{0x80000000, 0, {0x80000021, ones, ones, ones}},
      // Not: SVM, ExtApicSpace, AltMovCr8, OSVW, IBS, SKINIT, WDT, LWP, performance counters,
      // DataBreakpointExtension, MONITORX; SYSCALL, FFXSR.
      expected{0x80000001, 0, {ones, ones, 0x006109e3, 0xedd2a179}},
      expected{0x80000002, 0, {ones, ones, ones, ones}},
      expected{0x80000003, 0, {ones, ones, ones, ones}},
      expected{0x80000004, 0, {ones, ones, ones, ones}},
      expected{0x80000005, 0, {ones, ones, ones, ones}},
      expected{0x80000006, 0, {ones, ones, ones, ones}},
      expected{0x80000007, 0, {0, 0, 0, 0x100}},
      expected{0x80000008, 0, {0x00ff30ff, 0x5, 0xf0ff, 0}},
      expected{0x80000019, 0, {ones, ones, 0, 0}},
      expected{0x8000001a, 0, {0xf, 0, 0, 0}},
      expected{0x8000001d, 0, {ones, ones, ones, ones}},
      expected{0x8000001e, 0, {ones, ones, ones, 0}},
      expected{0x80000021, 0, {0x0c44, 0, 0, 0}},
  };
  const auto seen = std::make_unique<kvm::cpuid_table>(told(full()));
  CHECK(seen->nent == known.size());
  for (const expected& each : known) {
    INFO(std::hex << each.function << "." << each.index);
    REQUIRE(seen->find(each.function, each.index) != nullptr);
    const cpuid_answer words = at(*seen, each.function, each.index);
    CHECK(words.eax == each.words.eax);
    CHECK(words.ebx == each.words.ebx);
    CHECK(words.ecx == each.words.ecx);
    CHECK(words.edx == each.words.edx);
  }
}

TEST_CASE("what a guest could keep state in is in no guest's CPUID", "[processor]") {
  const auto seen = std::make_unique<kvm::cpuid_table>(told(full()));
  const auto bit = [](std::uint32_t word, unsigned number) { return (word >> number & 1) != 0; };
  CHECK_FALSE(bit(at(*seen, 0x80000001).ecx, 2));  // SVM
  CHECK_FALSE(bit(at(*seen, 1).ecx, 5));           // VMX
  CHECK_FALSE(bit(at(*seen, 1).ecx, 3));           // MONITOR
  CHECK_FALSE(bit(at(*seen, 1).ecx, 21));          // x2APIC
  CHECK_FALSE(bit(at(*seen, 1).ecx, 24));          // TSC-deadline
  CHECK_FALSE(bit(at(*seen, 1).ecx, 17));          // PCID
  const cpuid_answer seven = at(*seen, 7, 0);
  CHECK_FALSE(bit(seven.ebx, 14));  // MPX
  CHECK_FALSE(bit(seven.ebx, 25));  // PT
  CHECK_FALSE(bit(seven.ecx, 3));   // PKU
  CHECK_FALSE(bit(seven.ecx, 4));   // OSPKE
  CHECK_FALSE(bit(seven.ecx, 7));   // CET_SS
  CHECK_FALSE(bit(seven.ecx, 31));  // PKS
  CHECK_FALSE(bit(seven.edx, 5));   // UINTR
  CHECK_FALSE(bit(seven.edx, 20));  // CET_IBT
  for (const unsigned amx : {22u, 24u, 25u}) CHECK_FALSE(bit(seven.edx, amx));
  const cpuid_answer more = at(*seen, 7, 1);
  CHECK_FALSE(bit(more.eax, 17));  // FRED
  CHECK_FALSE(bit(more.eax, 21));  // AMX-FP16
  CHECK_FALSE(bit(more.eax, 26));  // LAM
  CHECK_FALSE(bit(more.edx, 8));   // AMX-COMPLEX
  CHECK_FALSE(bit(more.edx, 21));  // APX
  for (const std::uint32_t absent : {5u, 6u, 0xau, 0x14u, 0x19u, 0x1du, 0x20u, 0x24u, 0x40000000u,
                                     0x40000001u, 0x8000000au, 0x8000001bu, 0x8000001fu}) {
    CHECK(seen->find(absent) == nullptr);
  }
}

TEST_CASE("nothing is added to what KVM offers", "[processor]") {
  kvm::cpuid_table zeros = full();
  for (kvm_cpuid_entry2& e : zeros.entries) e.eax = e.ebx = e.ecx = e.edx = 0;
  const auto seen = std::make_unique<kvm::cpuid_table>(told(zeros));
  for (const kvm_cpuid_entry2& e : seen->entries) CHECK((e.eax | e.ebx | e.ecx | e.edx) == 0);
  CHECK(told(kvm::cpuid_table{}).nent == 0);
  // A table that claims more entries than there is room for has as many as there is room for.
  kvm::cpuid_table longer;
  longer.nent = ones;
  for (kvm_cpuid_entry2& e : longer.entries) e.function = 2;
  CHECK(told(longer).nent == kvm::cpuid_table::capacity);
}

TEST_CASE("leaf 0DH is that of the state that guests have", "[processor]") {
  for (const processors::processor& p : processors::known) {
    INFO(p.name);
    const auto seen = std::make_unique<kvm::cpuid_table>(told(processors::table_of(p)));
    const std::uint64_t xcr0 = p.components & 0xe7;
    const std::uint32_t xsave_bits = 3U << 26;
    CHECK((at(*seen, 1).ecx & xsave_bits) == (xcr0 != 0 ? xsave_bits : 0));
    CHECK_FALSE(seen->offers_tile_data());
    if (xcr0 == 0) {
      CHECK(seen->find(0xd) == nullptr);
      continue;
    }
    const std::uint32_t size = xcr0 == 7 ? 832 : p.maker == "AuthenticAMD" ? 2432 : 2688;
    CHECK(at(*seen, 0xd, 0) == cpuid_answer{static_cast<std::uint32_t>(xcr0), size, size, 0});
    const bool compacts = (p.variant & 2) != 0;
    const std::uint32_t compacted = xcr0 == 7 ? 832 : 2432;
    CHECK(at(*seen, 0xd, 1) ==
          cpuid_answer{p.variant & 7, compacts ? compacted : 0, 0, 0});  // Neither XSAVES nor XFD.
    for (std::uint32_t i = 2; i < 64; ++i) {
      INFO("component " << i);
      CHECK((seen->find(0xd, i) != nullptr) == ((xcr0 >> i & 1) != 0));
    }
  }
}

TEST_CASE("XCR0 of guests has AVX-512 whole or not at all, and nothing after it", "[processor]") {
  const auto of = [](std::uint64_t offered) {
    extended_state state;
    state.components = offered;
    return guest_xcr0(state);
  };
  CHECK(of(0) == 0);
  CHECK(of(1) == 0);
  CHECK(of(6) == 0);
  CHECK(of(3) == 3);
  CHECK(of(7) == 7);
  CHECK(of(0xe3) == 3);
  CHECK(of(0x67) == 7);
  CHECK(of(0xe7) == 0xe7);
  CHECK(of(~std::uint64_t{0}) == 0xe7);
}

TEST_CASE("addresses have 48 bits, or as few as KVM says", "[processor]") {
  for (const std::uint32_t linear : {0u, 32u, 48u, 57u}) {
    kvm::cpuid_table table;
    processors::add(table, 0x80000008, 0, {linear << 8 | 46, 0, 0, 0});
    CHECK(at(told(table), 0x80000008).eax == ((linear == 57 ? 48 : linear) << 8 | 46));
  }
}
