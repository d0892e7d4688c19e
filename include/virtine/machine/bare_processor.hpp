// The processor of a bare machine: what a guest at CPL 0 may reach of it, and how everything that
// it can have changed is taken back. Knows nothing of what memory holds, of images or of calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <virtine/abi/little_endian.hpp>
#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/cpu_mode.hpp>

namespace virtine::detail {

/// What is known of the processors that bare guests of this host get. All fail as the kernel does.
class bare_processor {
 public:
  /// Derives it from what KVM supports. Fails with errc::no_kvm if KVM lacks what a guest at CPL 0
  /// is confined or taken back by.
  static result<bare_processor> of(const kvm::system& system) {
    struct need {
      kvm::capability id;
      const char* missing;
    };
    constexpr std::array<need, 4> needs{{
        {kvm::capability::x86_msr_filter,
         "bare machines need KVM_CAP_X86_MSR_FILTER (Linux 5.10 or newer)"},
        {kvm::capability::vcpu_events, "bare machines need KVM_CAP_VCPU_EVENTS"},
        {kvm::capability::debugregs, "bare machines need KVM_CAP_DEBUGREGS"},
        {kvm::capability::mp_state, "bare machines need KVM_CAP_MP_STATE"},
    }};
    for (const need& each : needs) {
      if (!system.has(each.id)) return error{.code = errc::no_kvm, .operation = each.missing};
    }
    auto cpu = guest_cpu::shared();
    if (!cpu) return cpu.error();
    bare_processor made;
    made.cpu_ = *cpu;
    // Not AMX's, which no guest has: their data lies beyond what KVM_SET_XSAVE takes, unless this
    // process had asked for the permission and the guest's CPUID for the tiles (api.rst, 4.43).
    constexpr std::uint64_t tiles = std::uint64_t{3} << 17;
    made.vector_parts_ = 3;
    if (const auto* leaf = system.supported_cpuid().find(0xd, 0)) {
      made.vector_parts_ |= (std::uint64_t{leaf->edx} << 32 | leaf->eax) & ~tiles;
    }
    made.shadow_paging_ = !pages_in_hardware();
    return made;
  }

  /// Closes what no reset reaches. Before the first vCPU.
  static result<void> confine(kvm::vm& vm) {
    // Real mode on Intel processors without unrestricted guest mode needs this (api.rst, 4.29).
    if (auto set = vm.set_tss_addr(0xfffbd000); !set) return set;
    // A guest at CPL 0 could hide values for the next call in MSRs that no reset lists, or have the
    // kernel write to its memory through KVM's own. These are all it gets; reset() sets them. The
    // x2APIC's, which no filter covers, are closed because there is no APIC in the kernel.
    constexpr std::array<std::uint32_t, 3> open{msr_efer, msr_fs_base, msr_gs_base};
    return vm.set_msr_filter(open);
  }

  /// Tells a new vCPU its features.
  result<void> set_up(kvm::vcpu& vcpu) {
    if (auto set = cpu_->set_up(vcpu); !set) return set;
    if (auto found = vcpu.get_nested_state()) nested_ = *found;
    return {};
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

  /// Makes KVM and the processor forget how guest addresses were translated, for a guest that has
  /// written page tables must not leave its mappings to the next; `memory` is the machine's one
  /// slot, whose contents are as they will be.
  result<void> forget_translations(kvm::vm& vm, const kvm_userspace_memory_region& memory) const {
    // Where KVM shadows the guest's page tables, it watches the guest write to them, not the host.
    // Only taking the memory away makes it drop them (no register does; run on five hosts).
    if (!shadow_paging_) return {};
    kvm_userspace_memory_region none = memory;
    none.memory_size = 0;
    if (auto set = vm.set_user_memory_region(none); !set) return set;
    return vm.set_user_memory_region(memory);
  }

  /// Sets every register that a guest at CPL 0 can change, to what a guest that starts in `mode`
  /// with page tables at `tables` begins with. Some ten ioctls.
  result<void> reset(kvm::vcpu& vcpu, x86::cpu_mode mode, std::uint64_t tables) const {
    kvm_sregs sregs = cpu_->special_registers(mode);
    if (sregs.cr0 & x86::cr0_pg) sregs.cr3 = tables;
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
  static constexpr std::uint32_t msr_efer = 0xc0000080;
  static constexpr std::uint32_t msr_fs_base = 0xc0000100;
  static constexpr std::uint32_t msr_gs_base = 0xc0000101;
  // What a guest loads without WRMSR: KERNEL_GS_BASE by SWAPGS; and that one, STAR, LSTAR, CSTAR,
  // SFMASK and SYSENTER_CS, _ESP and _EIP by VMLOAD, where the processor virtualises it and KVM
  // lets guests have it, whatever CPUID says (APM vol. 2, 15.33.1). All are 0 in a new vCPU.
  static constexpr std::array<std::uint32_t, 8> without_wrmsr{
      0xc0000102, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x174, 0x175, 0x176};

  bare_processor() = default;

  /// Returns whether the processor walks the guest's page tables itself. False in doubt.
  static bool pages_in_hardware() {
    // A software KVM shadows them, whatever else was loaded.
    if (::access("/sys/module/kvm_pvm", F_OK) == 0) return false;
    for (const char* path :
         {"/sys/module/kvm_intel/parameters/ept", "/sys/module/kvm_amd/parameters/npt"}) {
      const os::fd file{::open(path, O_RDONLY | O_CLOEXEC)};
      char answer = 'N';
      if (!file || ::read(file.get(), &answer, 1) != 1) continue;
      if (answer == 'Y' || answer == '1') return true;
    }
    return false;
  }

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
  std::uint64_t vector_parts_ = 0;  // XSTATE_BV of all that KVM_SET_XSAVE takes.
  bool shadow_paging_ = true;
  std::optional<kvm::nested_state> nested_;  // Of a new vCPU, where KVM has such a state.
};

}  // namespace virtine::detail
