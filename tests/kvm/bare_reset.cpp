// What a call of a bare image leaves behind for the next one on the same machine: nothing, as the
// next call sees it and as KVM does.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <guests/halves16.hpp>
#include <guests/halves32.hpp>
#include <guests/kernel64.hpp>
#include <guests/kernel64_calls.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/virtine.hpp>

#include "differences.hpp"
#include "host.hpp"
#include "vcpu_state.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using kernel = guests::kernel64_calls;
using report_sig = bytes<4080>();

// QEMU loses count of a nested guest's breakpoints, and ends.
bool loses_breakpoints() {
  return emulated_host() == "svm";
}

enum class form { call, try_call, each, async };

// Makes one call in `how`; whether it is well does not matter.
template <class Entry>
void soil(pool<kernel>& machines, form how) {
  virtine_fn<void(), Entry> fn(machines);
  const auto limited = fn.with({.timeout = 5s});
  switch (how) {
    case form::call:
    case form::try_call:
      static_cast<void>(limited.try_call());
      break;
    case form::each:
      static_cast<void>(limited.each(std::array{std::tuple<>(), std::tuple<>()}));
      break;
    case form::async:
      static_cast<void>(limited.async().try_get());
      break;
  }
}

struct soiler {
  const char* name;
  void (*run)(pool<kernel>&, form);
};

constexpr std::array soilers{
    soiler{"memory", soil<kernel::soil_memory>},
    soiler{"registers", soil<kernel::soil_registers>},
    soiler{"debug registers", soil<kernel::soil_debug>},
    soiler{"bases", soil<kernel::soil_bases>},
    soiler{"selectors", soil<kernel::soil_selectors>},
    soiler{"descriptor tables", soil<kernel::soil_tables>},
    soiler{"descriptors", soil<kernel::soil_descriptors>},
    soiler{"control registers", soil<kernel::soil_control>},
    soiler{"CR8", soil<kernel::soil_priority>},
    soiler{"EFER", soil<kernel::soil_efer>},
    soiler{"x87 and XMM", soil<kernel::soil_vectors>},
    soiler{"YMM and more", soil<kernel::soil_wide>},
    soiler{"XCR0", soil<kernel::soil_xcr0>},
    soiler{"a shadow of STI", soil<kernel::soil_shadow>},
    soiler{"a shadow of MOV SS", soil<kernel::soil_stack_shadow>},
    soiler{"the global interrupt flag", soil<kernel::soil_interrupt_flag>},
    soiler{"triple fault", soil<kernel::triple_fault>},
    soiler{"store outside", soil<kernel::store_outside>},
    soiler{"breakpoints", soil<kernel::soil_breakpoints>},
};

std::vector<std::byte> seen_by_guest(virtine_fn<report_sig, kernel::report>& report) {
  const auto found = report.with({.timeout = 5s}).try_call();
  INFO((found ? std::string() : to_string(found.error())));
  REQUIRE(found.has_value());
  return {found->span().begin(), found->span().end()};
}

// Sets every part of the vector state that KVM takes, protection keys too, and what may be pending.
void soil_by_kvm(kvm::vcpu& vcpu) {
  kvm::xsave_area area = vcpu.get_xsave().value();
  std::uint64_t parts = 3;
  if (const auto* leaf = kvm::system::shared().value()->supported_cpuid().find(0xd, 0)) {
    constexpr std::uint64_t tiles = std::uint64_t{3} << 17;
    parts |= (std::uint64_t{leaf->edx} << 32 | leaf->eax) & ~tiles;
  }
  std::fill(area.bytes.begin() + 32, area.bytes.begin() + 416, std::byte{0x5a});
  std::fill(area.bytes.begin() + 576, area.bytes.end(), std::byte{0x5a});
  // Registers of bounds have reserved bits.
  constexpr std::uint64_t bounds = 3 << 3;
  x86::store(area.bytes, 512, parts & ~bounds);
  REQUIRE(vcpu.set_xsave(area));
  kvm_vcpu_events events{};
  events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  events.nmi.pending = 1;
  events.nmi.masked = 1;
  events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
  REQUIRE(vcpu.set_vcpu_events(events));
}

// Sees to it that the one machine is there, wiped. A machine whose call failed may be on its way
// out.
void settle(pool<kernel>& machines) {
  const auto until = std::chrono::steady_clock::now() + 60s;
  do {
    REQUIRE(machines.warm_up(1));
    std::this_thread::sleep_for(1ms);
  } while (machines.stats().idle != 1 && std::chrono::steady_clock::now() < until);
  REQUIRE(machines.stats().idle == 1);
}

}  // namespace

TEST_CASE("no call of a bare image finds anything of another, and neither does KVM",
          "[reset][own_vm]") {
  const form how = GENERATE(form::call, form::each, form::async);
  const pool_options options = GENERATE(
      pool_options{.max = 1, .workers = 1}, pool_options{.max = 1, .warm = 1, .workers = 1},
      pool_options{.max = 1, .cleaning = cleaning::in_background, .workers = 1});
  const auto before = vcpu_state::descriptors();
  pool<kernel> machines(options);
  virtine_fn<report_sig, kernel::report> report(machines);
  settle(machines);
  // As it is before any call.
  const auto untouched = vcpu_state::of(vcpu_state::newest(before));
  const auto clean = seen_by_guest(report);
  int kept = 0;
  for (const soiler& each : soilers) {
    if (loses_breakpoints() && std::string_view(each.name) == "breakpoints") continue;
    INFO(each.name << ", form " << static_cast<int>(how));
    const auto created = machines.stats().created;
    each.run(machines, how);
    if (machines.stats().created == created) ++kept;
    // Twice, so that the report does not tidy up.
    CHECK(differences(seen_by_guest(report), clean) == "");
    each.run(machines, how);
    settle(machines);
    CHECK(vcpu_state::differences_of(vcpu_state::of(vcpu_state::newest(before)), untouched) == "");
  }
  CHECK(kept >= 10);
}

TEST_CASE("a machine by hand is to KVM as it was, whatever its guest did", "[bare]") {
  using by_hand = guests::kernel64;
  for (const image_description* image :
       {&by_hand::description, &guests::halves32::description, &guests::halves16::description}) {
    INFO(x86::name(image->mode));
    const auto before = vcpu_state::descriptors();
    const auto made = bare_machine::create(*image).value();
    auto vcpu = vcpu_state::newest(before);
    const auto untouched = vcpu_state::of(vcpu);
    const auto soiled_by = [&](std::uint64_t address) {
      kvm_regs regs{};
      regs.rip = address;
      regs.rsp = bare_machine::stack_top;
      regs.rdi = 0xa000;
      regs.rax = regs.rbx = regs.rcx = regs.r15 = 0x5a5a5a5a5a5a5a5a;
      regs.rflags = 0x244cd7;
      REQUIRE(made->set_registers(regs));
      static_cast<void>(made->run(5s));
      // As VMLOAD would on a processor that executes it by itself; and what KVM can be told of.
      kvm::msr_entries<8> loaded;
      loaded.entries = {{{.index = 0xc0000081, .reserved = 0, .data = 0x1b00080000000000},
                         {.index = 0xc0000082, .reserved = 0, .data = 0x5a5a5a},
                         {.index = 0xc0000083, .reserved = 0, .data = 0x5a5a5b},
                         {.index = 0xc0000084, .reserved = 0, .data = 0x5a5a5c},
                         {.index = 0x174, .reserved = 0, .data = 0x5a},
                         {.index = 0x175, .reserved = 0, .data = 0x5a5a5d},
                         {.index = 0x176, .reserved = 0, .data = 0x5a5a5e},
                         {.index = 0xc0000102, .reserved = 0, .data = 0x5a5a5f}}};
      REQUIRE(vcpu.set_msrs(loaded));
      soil_by_kvm(vcpu);
      const auto soiled = vcpu_state::of(vcpu);
      REQUIRE(made->reset());
      CHECK(vcpu_state::differences_of(vcpu_state::of(vcpu), untouched) == "");
      return vcpu_state::differences_of(soiled, untouched) != "";
    };
    for (const symbol& each : image->symbols) {
      const std::string_view name(each.name);
      INFO(name);
      if (loses_breakpoints() && name == "soil_breakpoints") continue;
      const bool is_code = name.starts_with("soil_") || name.starts_with("look") ||
                           image->mode != x86::cpu_mode::long64;
      if (!is_code) continue;
      CHECK(soiled_by(each.address));
    }
  }
}
