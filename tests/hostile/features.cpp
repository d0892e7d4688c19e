// Attacks of a guest at CPL 0 that turn on features of the processor beyond those it was given.
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <array>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include <virtine/bare_machine.hpp>

#include "hostile.hpp"

namespace x86 = virtine::x86;
using namespace std::chrono_literals;

namespace {

using code = std::vector<unsigned char>;

// Runs `body` at CPL 0 in long mode. Returns what it has put into AL when it came to its end, or
// -1: without tables of its own every fault is the end of its machine.
int run(code body) {
  auto made = virtine::bare_machine::create(virtine::bare_options{.memory = 64 * 1024});
  REQUIRE(made);
  virtine::bare_machine& m = **made;
  body.push_back(0xe6);  // out 0x10, al
  body.push_back(0x10);
  REQUIRE(m.load(virtine::guest_address{0x9000}, std::as_bytes(std::span(body))));
  kvm_regs regs{};
  regs.rip = 0x9000;
  regs.rsp = 0x8000;
  regs.rflags = 2;
  REQUIRE(m.set_registers(regs));
  const auto ended = m.run(500ms);
  if (!ended) return -1;
  const auto* out = std::get_if<virtine::kvm::io_exit>(&*ended);
  if (out == nullptr || out->port != 0x10 || out->data.size() != 1) return -1;
  return std::to_integer<int>(out->data[0]);
}

code operator+(code first, const code& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

const code set_al{0xb0, 0x01};                       // mov al, 1
const code set_al_if_carry{0x0f, 0x92, 0xc0};        // setc al
const code load_efer{0xb9, 0x80, 0x00, 0x00, 0xc0,   // mov ecx, 0xc0000080
                     0x0f, 0x32};                    // rdmsr
const code store_efer{0x0f, 0x30};                   // wrmsr
const code load_cr4{0x0f, 0x20, 0xe0};               // mov rax, cr4
const code store_cr4{0x0f, 0x22, 0xe0};              // mov cr4, rax
const code load_xcr0{0x31, 0xc9, 0x0f, 0x01, 0xd0};  // xor ecx, ecx; xgetbv
const code store_xcr0{0x0f, 0x01, 0xd1};             // xsetbv

code set_bit(unsigned char number) {
  return {0x48, 0x0f, 0xba, 0xe8, number};  // bts rax, number
}
code test_bit(unsigned char number) {
  return {0x48, 0x0f, 0xba, 0xe0, number};  // bt rax, number
}

// 1: the bit could be set; 0: it was left clear; -1: the attempt was a fault.
int try_bit(const code& load, const code& store, unsigned char number) {
  return run(load + set_bit(number) + store + load + test_bit(number) + set_al_if_carry);
}

}  // namespace

TEST_CASE("H72: no guest at CPL 0 has SVM or VMX", "[hostile]") {
  REQUIRE(run(set_al) == 1);
  constexpr unsigned char svme = 12;
  constexpr unsigned char vmxe = 13;
  for (const unsigned char last : code{0xd8, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf}) {
    INFO("vmrun, vmload, vmsave, stgi, clgi, skinit, invlpga: 0x" << std::hex << int{last});
    const code instruction{0x0f, 0x01, last};
    // RAX is the address of a page that the guest has.
    const code page{0xb8, 0x00, 0xa0, 0x00, 0x00};
    // QEMU's emulation of SVM lets STGI and CLGI through where the host has virtualised them.
    const bool let_through = emulated_host() == "svm" && (last == 0xdc || last == 0xdd);
    if (!let_through) CHECK(run(page + instruction + set_al) == -1);
    CHECK(run(load_efer + set_bit(svme) + store_efer + page + instruction + set_al) == -1);
  }
  const std::array<code, 9> vmx{
      code{0xf3, 0x0f, 0xc7, 0x34, 0x25, 0x00, 0xa0, 0x00, 0x00},         // vmxon [0xa000]
      code{0x66, 0x0f, 0xc7, 0x34, 0x25, 0x00, 0xa0, 0x00, 0x00},         // vmclear [0xa000]
      code{0x0f, 0xc7, 0x34, 0x25, 0x00, 0xa0, 0x00, 0x00},               // vmptrld [0xa000]
      code{0x0f, 0x01, 0xc2},                                             // vmlaunch
      code{0x0f, 0x01, 0xc3},                                             // vmresume
      code{0x0f, 0x01, 0xc4},                                             // vmxoff
      code{0x0f, 0x78, 0xc3},                                             // vmread rbx, rax
      code{0x0f, 0x79, 0xc3},                                             // vmwrite rax, rbx
      code{0x66, 0x0f, 0x38, 0x80, 0x04, 0x25, 0x00, 0xa0, 0x00, 0x00}};  // invept rax, [0xa000]
  for (const code& instruction : vmx) {
    INFO("instruction " << &instruction - vmx.data());
    CHECK(run(instruction + set_al) == -1);
    CHECK(run(load_cr4 + set_bit(vmxe) + store_cr4 + instruction + set_al) == -1);
  }
}

TEST_CASE("H78: CPUID shows a guest what is in the list", "[hostile]") {
  // A software KVM runs CPL 3 on the host's processor, whose CPUID it then sees.
  const bool is_software = ::access("/sys/module/kvm_pvm", F_OK) == 0;
  hostile::arena a;
  const auto check = [&](std::uint32_t function, std::uint32_t index,
                         const kvm_cpuid_entry2& wanted) {
    INFO(std::hex << function << "." << index);
    const auto low = a.run("ask_cpuid", function, index, 0);
    const auto high = a.run("ask_cpuid", function, index, 1);
    REQUIRE(low);
    REQUIRE(high);
    if (is_software) return;
    // KVM sets these two itself: APIC as the APIC's base has it, OSXSAVE as CR4 has it.
    const std::uint64_t own = function == 1 ? 1ULL << (32 + 9) | 1U << 27 : 0;
    CHECK(*low == (wanted.eax | std::uint64_t{wanted.ebx} << 32));
    CHECK((*high | own) == (wanted.ecx | std::uint64_t{wanted.edx} << 32 | own));
  };
  const auto& table = *virtine::detail::guest_cpu::shared().value()->cpuid;
  for (const kvm_cpuid_entry2& each : std::span(table.entries).first(table.nent)) {
    check(each.function, each.index, each);
  }
  // AMD's answer to a leaf that is not there is 0, Intel's is another leaf.
  if (x86::native_cpuid(0).ebx != 0x68747541) return;
  for (const std::uint32_t absent : {0xau, 0x12u, 0x14u, 0x1cu, 0x40000000u, 0x40000001u,
                                     0x8000000au, 0x8000001bu, 0x8000001fu}) {
    check(absent, 0, {});
  }
}

TEST_CASE("H73: no guest at CPL 0 turns on what its CPUID lacks", "[hostile]") {
  // What it has it may set: PGE, which is CR4's, and SCE, which is EFER's.
  REQUIRE(try_bit(load_cr4, store_cr4, 7) == 1);
  REQUIRE(try_bit(load_efer, store_efer, 0) == 1);
  // VMXE, SMXE, PCIDE, CET, PKS, UINTR, LASS, LAM_SUP, FRED.
  for (const unsigned char number : code{13, 14, 17, 23, 24, 25, 27, 28, 32}) {
    INFO("bit " << int{number} << " of CR4");
    CHECK(try_bit(load_cr4, store_cr4, number) != 1);
  }
  // A software KVM lets PKE be set, but nothing at CPL 0 reaches the keys.
  const code write_keys{0x31, 0xc9, 0x31, 0xd2, 0x31, 0xc0, 0x0f, 0x01, 0xef};
  CHECK(run(load_cr4 + set_bit(22) + store_cr4 + write_keys + set_al) == -1);
  // SVME, LMSLE, FFXSR, TCE, MCOMMIT, INTWB, UAIE, AIBRSE.
  for (const unsigned char number : code{12, 13, 14, 15, 17, 18, 20, 21}) {
    INFO("bit " << int{number} << " of EFER");
    CHECK(try_bit(load_efer, store_efer, number) != 1);
  }
  // QEMU's emulation of SVM does not tell KVM of XSETBV.
  if (emulated_host() == "svm") return;
  // MPX, both; PT, PKRU, PASID, CET; AMX, both; APX; LWP is beyond EAX.
  for (const std::uint32_t mask :
       {0x18u, 0x100u, 0x200u, 0x400u, 0x800u, 0x1000u, 0x60000u, 0x80000u}) {
    INFO("0x" << std::hex << mask << " of XCR0");
    code set{0x0d};   // or eax, mask
    code test{0x25};  // and eax, mask
    for (unsigned i = 0; i < 4; ++i) {
      set.push_back(static_cast<unsigned char>(mask >> 8 * i));
      test.push_back(static_cast<unsigned char>(mask >> 8 * i));
    }
    const code set_al_unless_zero{0x0f, 0x95, 0xc0};
    CHECK(run(load_xcr0 + set + store_xcr0 + load_xcr0 + test + set_al_unless_zero) != 1);
  }
}
