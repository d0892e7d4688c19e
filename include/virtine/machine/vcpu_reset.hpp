// How a vCPU is taken back from whatever guest was on it: all of its state is set from constants.
// Knows nothing of what memory holds, of images or of calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <virtine/abi/little_endian.hpp>
#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/cpu_mode.hpp>

namespace virtine::detail {

/// Resets vCPUs of this host. All fail as the kernel does.
class vcpu_reset {
 public:
  /// Derives it from what KVM supports. Fails with errc::no_kvm if KVM lacks what a guest is taken
  /// back by.
  static result<vcpu_reset> of(const kvm::system& system) {
    struct need {
      kvm::capability id;
      const char* missing;
    };
    constexpr std::array<need, 3> needs{{
        {kvm::capability::vcpu_events,
         "bare machines, and those that share a VM, need KVM_CAP_VCPU_EVENTS"},
        {kvm::capability::debugregs,
         "bare machines, and those that share a VM, need KVM_CAP_DEBUGREGS"},
        {kvm::capability::mp_state,
         "bare machines, and those that share a VM, need KVM_CAP_MP_STATE"},
    }};
    for (const need& each : needs) {
      if (!system.has(each.id)) return error{.code = errc::no_kvm, .operation = each.missing};
    }
    auto cpu = guest_cpu::shared();
    if (!cpu) return cpu.error();
    vcpu_reset made;
    made.cpu_ = *cpu;
    // Not AMX's, which no guest has: their data lies beyond what KVM_SET_XSAVE takes, unless this
    // process had asked for the permission and the guest's CPUID for the tiles (api.rst, 4.43).
    constexpr std::uint64_t tiles = std::uint64_t{3} << 17;
    made.vector_parts_ = 3;
    if (const auto* leaf = system.supported_cpuid().find(0xd, 0)) {
      made.vector_parts_ |= (std::uint64_t{leaf->edx} << 32 | leaf->eax) & ~tiles;
    }
    return made;
  }

  /// Looks at a new vCPU, for what KVM alone knows of its state.
  void learn(const kvm::vcpu& vcpu) {
    if (auto found = vcpu.get_nested_state()) nested_ = *found;
  }

  /// Completes what KVM has pending for the last exit. Otherwise it would be applied to the state
  /// set next: a register loaded from a port, half of a store, a skipped instruction, or the rest
  /// of a string instruction. Fails with errc::machine_failure if that has no end.
  static result<void> complete_exit(kvm::vcpu& vcpu) {
    // A `rep cmps` over no memory has the most: KVM goes back to the guest after 1024 elements, of
    // four accesses each where they lie across two pages. The bound keeps a KVM that does not from
    // going on for ever.
    constexpr int most = 1 << 14;
    vcpu.request_immediate_exit(true);
    result<void> part;
    for (int parts = 0; part && parts < most; ++parts) part = vcpu.run();
    vcpu.request_immediate_exit(false);
    if (part) {
      return error{.code = errc::machine_failure,
                   .operation =
                       "KVM does not come to an end of the guest's last instruction; make another "
                       "machine"};
    }
    if (part.error().os_error != EINTR) return part;
    return {};
  }

  /// Sets every register that a guest at CPL 0 can change: the special ones to `sregs`, the others
  /// to what they are in a new vCPU. Some ten ioctls.
  result<void> reset(kvm::vcpu& vcpu, const kvm_sregs& sregs) const {
    // Twice, because KVM flushes the guest's TLB only when a control register changes.
    kvm_sregs other = sregs;
    other.cr0 ^= x86::cr0_wp;
    if (auto set = vcpu.set_sregs(other); !set) return set;
    if (auto set = vcpu.set_sregs(sregs); !set) return set;
    vcpu.state().cr8 = 0;  // Without an APIC in the kernel, KVM_RUN takes CR8 from here.
    kvm_regs regs{};
    regs.rflags = x86::initial_rflags;
    if (auto set = vcpu.set_regs(regs); !set) return set;
    if (cpu_->xcr0 != 0) {
      kvm_xcrs xcrs{};
      xcrs.nr_xcrs = 1;
      xcrs.xcrs[0].value = cpu_->xcr0;
      if (auto set = vcpu.set_xcrs(xcrs); !set) return set;
    }
    if (auto set = vcpu.set_xsave(initial_vector_state()); !set) return set;
    if (auto set = vcpu.set_debugregs(initial_debugregs()); !set) return set;
    // Nothing pending, nothing blocked; KVM leaves alone what no flag names.
    kvm_vcpu_events events{};
    events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    if (auto set = vcpu.set_vcpu_events(events); !set) return set;
    if (auto set = vcpu.set_mp_state({.mp_state = KVM_MP_STATE_RUNNABLE}); !set) return set;
    // Processors with a virtual GIF let guests clear it (CLGI), whatever CPUID says.
    if (nested_) {
      if (auto set = vcpu.set_nested_state(*nested_); !set) return set;
    }
    kvm::msr_entries<without_wrmsr.size()> msrs;
    for (std::size_t i = 0; i < without_wrmsr.size(); ++i) {
      msrs.entries[i].index = without_wrmsr[i];
    }
    return vcpu.set_msrs(msrs);
  }

 private:
  // What a guest loads without WRMSR: KERNEL_GS_BASE by SWAPGS; and that one, STAR, LSTAR, CSTAR,
  // SFMASK and SYSENTER_CS, _ESP and _EIP by VMLOAD, where the processor virtualises it and KVM
  // lets guests have it, whatever CPUID says (APM vol. 2, 15.33.1). All are 0 in a new vCPU.
  static constexpr std::array<std::uint32_t, 8> without_wrmsr{
      0xc0000102, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176};

  vcpu_reset() = default;

  static kvm_debugregs initial_debugregs() {
    kvm_debugregs registers{};
    registers.dr6 = 0xffff0ff0;
    registers.dr7 = 0x400;
    return registers;
  }

  /// All vector state as after a processor reset. The header names every part that KVM takes: it
  /// leaves alone the protection keys, and on some hosts MXCSR, that the header does not name.
  [[nodiscard]] kvm::xsave_area initial_vector_state() const {
    kvm::xsave_area area;
    x86::store(area.bytes, 0, std::uint16_t{0x37f});
    x86::store(area.bytes, 24, std::uint32_t{0x1f80});
    x86::store(area.bytes, 512, vector_parts_);
    return area;
  }

  const guest_cpu* cpu_ = nullptr;
  std::uint64_t vector_parts_ = 0;           // XSTATE_BV of all that KVM_SET_XSAVE takes.
  std::optional<kvm::nested_state> nested_;  // Of a new vCPU, where KVM has such a state.
};

}  // namespace virtine::detail
