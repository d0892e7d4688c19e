// The processor that guests get: what of the host's features is offered, and how a vCPU is told.
// Knows nothing of memory or images.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/auxv.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/machine/extended_state.hpp>
#include <virtine/machine/guest_cpuid.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/cpu_mode.hpp>
#include <virtine/x86/descriptors.hpp>
#include <virtine/x86/trampoline.hpp>

namespace virtine::detail {

/// What guests of this host have. The same for all of them, so shared() computes it once.
struct guest_cpu {
  x86::cpu_features features;
  std::uint64_t xcr0 = 0;  ///< 0 if there is no XSAVE.
  std::uint8_t task_type = x86::busy_task;
  x86::vector_wipe wipe = x86::vector_wipe::fxrstor;
  bool wrfsbase = false;  ///< Whether guests can set the base of FS, as a thread pointer takes.
  std::unique_ptr<const kvm::cpuid_table> cpuid;  ///< What CPUID tells them.

  /// Derives it from what KVM supports, on this processor. Fails with errc::no_kvm, which names a
  /// part of the processor's state, if calls could not be wiped of it.
  static result<guest_cpu> of(const kvm::system& system) {
    // The host's own word counts as well, because one software KVM hides the bit.
    constexpr unsigned long hwcap2_fsgsbase = 2;
    processor_state state = processor_state::of(system.supported_cpuid());
    // Guests whose XCR0 cannot be set have x87 alone in it, which XRSTOR would then wipe alone.
    if (!system.has(kvm::capability::xcrs)) state.offered = {};
    return os::or_out_of_memory([&] {
      return of(system.supported_cpuid(), state, (::getauxval(AT_HWCAP2) & hwcap2_fsgsbase) != 0);
    });
  }

  /// The same of what KVM supports, on a processor of that `state`, which has or lacks FSGSBASE.
  static result<guest_cpu> of(const kvm::cpuid_table& supported, const processor_state& state,
                              bool native_fsgsbase) {
    if (auto wipeable = state.check_wipeable(); !wipeable) return wipeable.error();
    guest_cpu cpu;
    if (const auto* leaf = supported.find(7, 0)) cpu.features.fsgsbase = (leaf->ebx & 1) != 0;
    cpu.wrfsbase = cpu.features.fsgsbase || native_fsgsbase;
    // Leaf 13 decides, not the XSAVE bit of leaf 1: one software KVM hides the bit although its
    // guests run on all of the host's vector state, which the trampoline must be able to wipe.
    cpu.xcr0 = guest_xcr0(state.offered);
    // Not on the stack: fibers that make a first call have small ones.
    cpu.cpuid.reset(new kvm::cpuid_table(guest_cpuid(supported, cpu.xcr0)));
    cpu.features.osxsave = cpu.xcr0 != 0;
    if (cpu.features.osxsave) cpu.wipe = x86::vector_wipe::fninit_xrstor;
    if (const auto* leaf = supported.find(0, 0)) {
      constexpr std::uint32_t amd = 0x68747541;    // "Auth" of AuthenticAMD
      constexpr std::uint32_t hygon = 0x6f677948;  // "Hygo" of HygonGenuine
      constexpr std::uint32_t intel = 0x756e6547;  // "Genu" of GenuineIntel
      // An AMD processor takes both types; VMX takes only a busy TSS (SDM vol. 3, 26.3.1.2), and
      // QEMU's emulation of SVM permits ports only by an available one.
      if (leaf->ebx == amd || leaf->ebx == hygon) cpu.task_type = x86::available_task;
      // Intel's XRSTOR loads the x87 pointers always (SDM vol. 1, 13.8), AMD's where CPUID says so
      // (APM vol. 3, Fn8000_0008_EBX, RstrFpErrPtrs).
      const auto* amd_features = supported.find(0x80000008, 0);
      const bool loads_pointers =
          leaf->ebx == intel || (amd_features != nullptr && (amd_features->ebx & 1 << 2) != 0);
      if (cpu.features.osxsave && loads_pointers) cpu.wipe = x86::vector_wipe::xrstor;
    }
    return cpu;
  }

  /// Returns what all guests of this process have, computed at first use. Thread-safe, and without
  /// a lock or system call once it exists. Fails as kvm::system::open() and of() do; a failure is
  /// not remembered.
  static result<const guest_cpu*> shared() {
    // Never destroyed, because machines in static storage may be used until the process ends.
    static std::atomic<const guest_cpu*> existing{nullptr};
    if (const guest_cpu* found = existing.load(std::memory_order_acquire)) return found;
    auto system = kvm::system::shared();
    if (!system) return system.error();
    auto found = of(**system);
    if (!found) return found.error();
    std::unique_ptr<const guest_cpu> made(new (std::nothrow) guest_cpu(*std::move(found)));
    if (made == nullptr) return os::out_of_memory();
    const guest_cpu* first = nullptr;
    if (existing.compare_exchange_strong(first, made.get(), std::memory_order_acq_rel,
                                         std::memory_order_acquire))
      return made.release();
    return first;
  }

  /// Returns the error of an image that has a thread pointer, where guests lack `wrfsbase`.
  static error no_wrfsbase() {
    return {.code = errc::no_kvm,
            .operation =
                "the image has thread-local variables, which take FSGSBASE, and this "
                "processor or its host's kernel lacks it"};
  }

  /// Tells a new vCPU its features. Two ioctls.
  result<void> set_up(kvm::vcpu& vcpu) const {
    if (auto set = vcpu.set_cpuid2(*cpuid); !set) return set;
    if (xcr0 == 0) return {};
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = xcr0;
    return vcpu.set_xcrs(xcrs);
  }

  /// Returns the special registers with which a guest of `mode` starts.
  [[nodiscard]] kvm_sregs special_registers(x86::cpu_mode mode) const {
    const auto kernel = [](const x86::segment& s) {
      return kvm_segment{.base = s.base,
                         .limit = s.limit,
                         .selector = s.selector,
                         .type = s.type,
                         .present = s.present,
                         .dpl = s.dpl,
                         .db = s.db,
                         .s = s.s,
                         .l = s.l,
                         .g = s.g,
                         .avl = s.avl,
                         .unusable = s.unusable,
                         .padding = 0};
    };
    const x86::segment_set segments = x86::segments_of(mode, task_type);
    const x86::control_registers control = x86::control_registers_of(mode, features);
    kvm_sregs out{};
    out.cs = kernel(segments.code);
    out.ds = out.es = out.fs = out.gs = out.ss = kernel(segments.data);
    out.tr = kernel(segments.task);
    out.ldt = kernel(segments.local);
    out.cr0 = control.cr0;
    out.cr4 = control.cr4;
    out.efer = control.efer;
    // The reset value of a first processor's APIC base (SDM vol. 3, 10.4.4); there is no APIC.
    out.apic_base = 0xfee00900;
    return out;
  }
};

/// Returns `base` with the data segments, and so their bases, that a guest `had`.
inline kvm_sregs with_data_segments(const kvm_sregs& base, const kvm_sregs& had) {
  kvm_sregs next = base;
  next.ds = had.ds;
  next.es = had.es;
  next.fs = had.fs;
  next.gs = had.gs;
  return next;
}

}  // namespace virtine::detail
