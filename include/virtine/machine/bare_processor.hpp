// The processor of a bare machine: what a guest at CPL 0 may reach of it, and what it is to begin
// with. Knows nothing of what memory holds, of images or of calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/machine/vcpu_reset.hpp>
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
    if (!system.has(kvm::capability::x86_msr_filter)) {
      return error{.code = errc::no_kvm,
                   .operation = "bare machines need KVM_CAP_X86_MSR_FILTER (Linux 5.10 or newer)"};
    }
    auto cpu = guest_cpu::shared();
    if (!cpu) return cpu.error();
    auto reset = vcpu_reset::of(system);
    if (!reset) return reset.error();
    bare_processor made(**cpu, *reset);
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
    reset_.learn(vcpu);
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
    return reset_.reset(vcpu, sregs);
  }

 private:
  static constexpr std::uint32_t msr_efer = 0xc0000080;
  static constexpr std::uint32_t msr_fs_base = 0xc0000100;
  static constexpr std::uint32_t msr_gs_base = 0xc0000101;

  bare_processor(const guest_cpu& cpu, const vcpu_reset& reset) : cpu_(&cpu), reset_(reset) {}

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

  const guest_cpu* cpu_;
  vcpu_reset reset_;
  bool shadow_paging_ = true;
};

}  // namespace virtine::detail
