// The KVM layer on the real device: a VM, a vCPU, memory, and state that comes back as it was set.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <virtine/kvm/system.hpp>
#include <virtine/machine/guest_cpu.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::size_t page = 4096;
constexpr std::uint64_t code_at = 0x1000;

const kvm::system& device() {
  return *kvm::system::shared().value();
}

// A VM with two pages of memory and a vCPU in real mode about to run `code`.
struct small_machine {
  kvm::vm vm = device().create_vm().value();
  os::mapping memory = os::mapping::anonymous(2 * page).value();
  kvm::vcpu cpu = vm.create_vcpu(0, device().vcpu_mmap_size()).value();

  explicit small_machine(std::span<const std::uint8_t> code) {
    std::memcpy(memory.bytes().data() + code_at, code.data(), code.size());
    // Sound: an address is passed as a number; `memory` outlives the VM's use of it.
    const auto address = reinterpret_cast<std::uintptr_t>(memory.bytes().data());
    vm.set_user_memory_region({.slot = 0,
                               .flags = 0,
                               .guest_phys_addr = 0,
                               .memory_size = memory.size(),
                               .userspace_addr = address})
        .value();
    kvm_sregs sregs = cpu.get_sregs().value();
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    cpu.set_sregs(sregs).value();
    kvm_regs regs{};
    regs.rip = code_at;
    regs.rflags = 0x202;
    cpu.set_regs(regs).value();
  }
};

constexpr std::array<std::uint8_t, 5> out_and_halt{0xb0, 42,    // mov al, 42
                                                   0xe6, 0x10,  // out 0x10, al
                                                   0xf4};       // hlt

void check_mentions(const std::string& message, const std::string& part) {
  INFO(message);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("the KVM here has what the library requires", "[kvm]") {
  const auto opened = kvm::system::open();
  REQUIRE(opened);
  CHECK(opened->vcpu_mmap_size() >= sizeof(kvm_run));
  for (const kvm::capability_use& use : kvm::capability_uses) {
    INFO(use.name);
    if (use.required) CHECK(opened->has(use.id));
    CHECK(opened->check_extension(use.id).value() == opened->value_of(use.id));
  }
  const kvm::cpuid_table& cpuid = opened->supported_cpuid();
  CHECK(cpuid.nent > 0);
  CHECK(cpuid.nent < kvm::cpuid_table::capacity);
  CHECK(cpuid.find(1) != nullptr);
}

TEST_CASE("the shared system is one for all threads", "[kvm]") {
  std::array<const kvm::system*, 4> seen{};
  {
    std::vector<std::thread> threads;
    for (auto& mine : seen) threads.emplace_back([&mine] { mine = kvm::system::shared().value(); });
    for (auto& thread : threads) thread.join();
  }
  CHECK(seen[0] != nullptr);
  CHECK(std::set(seen.begin(), seen.end()).size() == 1);
}

TEST_CASE("a guest runs to its out and then to its hlt", "[kvm]") {
  small_machine machine(out_and_halt);
  kvm::vcpu& cpu = machine.cpu;
  REQUIRE(cpu.run());
  const kvm::exit first = cpu.last_exit();
  REQUIRE(std::holds_alternative<kvm::io_exit>(first));
  const auto& io = std::get<kvm::io_exit>(first);
  CHECK(io.direction == kvm::io_direction::out);
  CHECK(io.port == 0x10);
  CHECK(io.size == 1);
  CHECK(io.count == 1);
  CHECK(io.data[0] == std::byte{42});
  REQUIRE(cpu.run());
  CHECK(std::holds_alternative<kvm::hlt_exit>(cpu.last_exit()));
}

TEST_CASE("an immediate exit runs nothing until it is taken back", "[kvm]") {
  small_machine machine(out_and_halt);
  kvm::vcpu& cpu = machine.cpu;
  cpu.request_immediate_exit(true);
  const auto stopped = cpu.run();
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == errc::os_error);
  CHECK(stopped.error().os_error == EINTR);
  CHECK(cpu.get_regs().value().rip == code_at);
  cpu.request_immediate_exit(false);
  REQUIRE(cpu.run());
  CHECK(std::holds_alternative<kvm::io_exit>(cpu.last_exit()));
}

TEST_CASE("registers go in and come out with the run", "[kvm]") {
  constexpr std::array<std::uint8_t, 5> code{0x88, 0xd8,  // mov al, bl
                                             0xe6, 0x10,  // out 0x10, al
                                             0xf4};       // hlt
  small_machine machine(code);
  kvm::vcpu& cpu = machine.cpu;
  cpu.set_valid(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
  cpu.synced_regs() = cpu.get_regs().value();
  cpu.synced_regs().rbx = 77;
  cpu.mark_dirty(KVM_SYNC_X86_REGS);
  REQUIRE(cpu.run());
  CHECK(cpu.state().kvm_dirty_regs == 0);
  REQUIRE(std::holds_alternative<kvm::io_exit>(cpu.last_exit()));
  CHECK(std::get<kvm::io_exit>(cpu.last_exit()).data[0] == std::byte{77});
  CHECK((cpu.synced_regs().rax & 0xff) == 77);
  CHECK(cpu.synced_sregs().cs.base == 0);

  cpu.synced_sregs().efer = ~std::uint64_t{0};
  cpu.mark_dirty(KVM_SYNC_X86_SREGS);
  CHECK(cpu.run().error().os_error == EINVAL);
}

TEST_CASE("a write without memory behind it is an MMIO exit", "[kvm]") {
  constexpr std::array<std::uint8_t, 6> code{0xb0, 9,           // mov al, 9
                                             0xa2, 0x00, 0x30,  // mov [0x3000], al
                                             0xf4};             // hlt
  small_machine machine(code);
  REQUIRE(machine.cpu.run());
  const kvm::exit why = machine.cpu.last_exit();
  REQUIRE(std::holds_alternative<kvm::mmio_exit>(why));
  const auto& mmio = std::get<kvm::mmio_exit>(why);
  CHECK(mmio.address == 0x3000);
  CHECK(mmio.is_write);
  REQUIRE(mmio.data.size() == 1);
  CHECK(mmio.data[0] == std::byte{9});
}

TEST_CASE("vCPU state comes back as it was set", "[kvm]") {
  small_machine machine(out_and_halt);
  kvm::vcpu& cpu = machine.cpu;
  REQUIRE(cpu.set_cpuid2(*guest_cpu::shared().value()->cpuid));

  if (device().has(kvm::capability::xcrs)) {
    kvm_xcrs xcrs = cpu.get_xcrs().value();
    REQUIRE(xcrs.nr_xcrs == 1);
    xcrs.xcrs[0].value = 3;
    REQUIRE(cpu.set_xcrs(xcrs));
    CHECK(cpu.get_xcrs().value().xcrs[0].value == 3);
  }

  // MXCSR at byte 24, XMM0 at 160, XSTATE_BV at 512 (SDM vol. 1, 13.4).
  kvm::xsave_area area = cpu.get_xsave().value();
  const std::uint32_t mxcsr = 0x1f80 | 0x6000;
  area.bytes[512] |= std::byte{3};
  std::memcpy(&area.bytes[24], &mxcsr, sizeof mxcsr);
  std::fill_n(&area.bytes[160], 16, std::byte{0xa5});
  REQUIRE(cpu.set_xsave(area));
  const kvm::xsave_area again = cpu.get_xsave().value();
  CHECK(std::equal(&area.bytes[24], &area.bytes[28], &again.bytes[24]));
  CHECK(std::equal(&area.bytes[160], &area.bytes[176], &again.bytes[160]));

  if (device().has(kvm::capability::debugregs)) {
    kvm_debugregs debug = cpu.get_debugregs().value();
    debug.db[0] = 0x1234;
    REQUIRE(cpu.set_debugregs(debug));
    CHECK(cpu.get_debugregs().value().db[0] == 0x1234);
  }
  if (device().has(kvm::capability::vcpu_events))
    CHECK(cpu.set_vcpu_events(cpu.get_vcpu_events().value()));
  if (device().has(kvm::capability::mp_state)) {
    CHECK(cpu.get_mp_state().value().mp_state == KVM_MP_STATE_RUNNABLE);
    CHECK(cpu.set_mp_state({.mp_state = KVM_MP_STATE_RUNNABLE}));
  }
}

TEST_CASE("MSRs come back as they were set, and a refused one is named", "[kvm]") {
  small_machine machine(out_and_halt);
  kvm::vcpu& cpu = machine.cpu;
  constexpr std::uint32_t star = 0xc0000081;
  constexpr std::uint32_t none_such = 0x7fffffff;
  kvm::msr_entries<1> one;
  one.entries[0] = {.index = star, .reserved = 0, .data = 0x0123456700000000};
  REQUIRE(cpu.set_msrs(one));
  one.entries[0].data = 0;
  REQUIRE(cpu.get_msrs(one));
  CHECK(one.entries[0].data == 0x0123456700000000);

  kvm::msr_entries<3> three;
  three.entries[0] = one.entries[0];
  three.entries[1].index = none_such;
  three.entries[2] = one.entries[0];
  for (const result<void>& refused : {cpu.set_msrs(three), cpu.get_msrs(three)}) {
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().os_error == EINVAL);
    CHECK(refused.error().detail == none_such);
  }
}

TEST_CASE("a filter closes every MSR but those it lists", "[kvm]") {
  if (!device().has(kvm::capability::x86_msr_filter)) return;
  // Reads the MSR in ECX and halts; a #GP goes to the handler of vector 13, which says so.
  constexpr std::array<std::uint8_t, 9> code{0x0f, 0x32,   // rdmsr
                                             0xe6, 0x10,   // out 0x10, al
                                             0xf4,         // hlt
                                             0xe6, 0x11,   // handler: out 0x11, al
                                             0xf4, 0x90};  // hlt
  constexpr std::uint32_t star = 0xc0000081;
  constexpr std::uint32_t lstar = 0xc0000082;
  const auto port_after_reading = [&](std::uint32_t msr, std::span<const std::uint32_t> allowed) {
    small_machine machine(code);
    REQUIRE(machine.vm.set_msr_filter(allowed));
    const std::array<std::uint16_t, 2> handler{code_at + 5, 0};
    std::memcpy(machine.memory.bytes().data() + std::size_t{4} * 13, handler.data(), 4);
    kvm_regs regs = machine.cpu.get_regs().value();
    regs.rcx = msr;
    regs.rsp = 0x800;
    REQUIRE(machine.cpu.set_regs(regs));
    REQUIRE(machine.cpu.run());
    const kvm::exit why = machine.cpu.last_exit();
    INFO(kvm::name(why) << ' ' << kvm::detail_of(why));
    REQUIRE(std::holds_alternative<kvm::io_exit>(why));
    return std::get<kvm::io_exit>(why).port;
  };
  const std::array<std::uint32_t, 2> list{0x1b, star};
  CHECK(port_after_reading(star, list) == 0x10);
  CHECK(port_after_reading(lstar, list) == 0x11);
  CHECK(port_after_reading(star, {}) == 0x11);
}

TEST_CASE("KVM's refusals carry the ioctl's name", "[kvm]") {
  small_machine machine(out_and_halt);
  kvm_userspace_memory_region crooked{};
  crooked.slot = 1;
  crooked.guest_phys_addr = 1;
  crooked.memory_size = page;
  const auto refused = machine.vm.set_user_memory_region(crooked);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().os_error == EINVAL);
  check_mentions(refused.error().operation, "KVM_SET_USER_MEMORY_REGION");

  const auto second = machine.vm.create_vcpu(0, device().vcpu_mmap_size());
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().os_error == EEXIST);
  CHECK(machine.vm.create_vcpu(1, page / 2).error().os_error == EINVAL);
  CHECK(machine.vm.check_extension(kvm::capability::sync_regs).value() >= 3);
  CHECK(machine.vm.enable_cap({}).error().os_error == EINVAL);
  CHECK(device().create_vm().value().set_tss_addr(0xfffbd000));
}

TEST_CASE("a VM that gets no descriptor says which limit to raise", "[kvm]") {
  const kvm::system& kvm = device();
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  ::setrlimit(RLIMIT_NOFILE, &none);
  const auto refused = kvm.create_vm();
  ::setrlimit(RLIMIT_NOFILE, &before);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().os_error == EMFILE);
  check_mentions(to_string(refused.error()), "ulimit -n");
}
