// What this library asks of a KVM: the capabilities it needs and those it uses where they exist.
// Makes no system call.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>

#include <virtine/kvm/uapi.hpp>

namespace virtine::kvm {

/// The version that KVM_GET_API_VERSION has returned since Linux 2.6.22 (api.rst, 4.1).
inline constexpr int api_version = 12;

/// Names a KVM extension, with the kernel's number.
enum class capability : int {
  user_memory = KVM_CAP_USER_MEMORY,
  ext_cpuid = KVM_CAP_EXT_CPUID,
  mp_state = KVM_CAP_MP_STATE,
  vcpu_events = KVM_CAP_VCPU_EVENTS,
  debugregs = KVM_CAP_DEBUGREGS,
  xsave = KVM_CAP_XSAVE,
  xcrs = KVM_CAP_XCRS,
  max_vcpus = KVM_CAP_MAX_VCPUS,
  sync_regs = KVM_CAP_SYNC_REGS,
  readonly_mem = KVM_CAP_READONLY_MEM,
  immediate_exit = KVM_CAP_IMMEDIATE_EXIT,
  x86_msr_filter = KVM_CAP_X86_MSR_FILTER,
};

/// One capability and why it is wanted.
struct capability_use {
  capability id;
  const char* name;     ///< As the kernel spells it.
  bool required;        ///< Whether the library refuses to work without it.
  int bits;             ///< The bits that KVM_CHECK_EXTENSION must return; 0: anything but 0.
  const char* purpose;  ///< What it is for.
  const char* missing;  ///< The message where a required one is missing, else null.

  /// Returns whether `value`, from KVM_CHECK_EXTENSION, is enough.
  [[nodiscard]] constexpr bool met_by(int value) const {
    return value > 0 && (value & bits) == bits;
  }
};

/// Every capability that the library looks at.
inline constexpr std::array capability_uses{
    capability_use{capability::user_memory, "KVM_CAP_USER_MEMORY", true, 0,
                   "guest memory backed by mappings of this process",
                   "this kernel's KVM lacks KVM_CAP_USER_MEMORY; use Linux 4.17 or newer"},
    capability_use{capability::ext_cpuid, "KVM_CAP_EXT_CPUID", true, 0,
                   "offering guests the processor's features",
                   "this kernel's KVM lacks KVM_CAP_EXT_CPUID; use Linux 4.17 or newer"},
    capability_use{capability::xsave, "KVM_CAP_XSAVE", true, 0,
                   "resetting all vector state, MXCSR and upper halves included",
                   "this kernel's KVM lacks KVM_CAP_XSAVE; use Linux 4.17 or newer"},
    capability_use{capability::sync_regs, "KVM_CAP_SYNC_REGS", true,
                   KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS,
                   "resetting registers by the KVM_RUN that needs them",
                   "this kernel's KVM lacks KVM_CAP_SYNC_REGS for registers and segments; use "
                   "Linux 4.17 or newer"},
    capability_use{capability::readonly_mem, "KVM_CAP_READONLY_MEM", true, 0,
                   "code shared by all machines of an image",
                   "this kernel's KVM lacks KVM_CAP_READONLY_MEM; use Linux 4.17 or newer"},
    capability_use{capability::immediate_exit, "KVM_CAP_IMMEDIATE_EXIT", true, 0,
                   "coming back from KVM_RUN before the guest is entered",
                   "this kernel's KVM lacks KVM_CAP_IMMEDIATE_EXIT; use Linux 4.17 or newer"},
    capability_use{capability::mp_state, "KVM_CAP_MP_STATE", false, 0,
                   "making a vCPU runnable again", nullptr},
    capability_use{capability::vcpu_events, "KVM_CAP_VCPU_EVENTS", false, 0,
                   "dropping an exception left pending", nullptr},
    capability_use{capability::debugregs, "KVM_CAP_DEBUGREGS", false, 0,
                   "resetting the debug registers of guests at CPL 0", nullptr},
    capability_use{capability::xcrs, "KVM_CAP_XCRS", false, 0,
                   "letting guests use AVX; missing on processors without XSAVE", nullptr},
    capability_use{capability::max_vcpus, "KVM_CAP_MAX_VCPUS", false, 0,
                   "machines that share a VM; they are as many as it allows", nullptr},
    capability_use{capability::x86_msr_filter, "KVM_CAP_X86_MSR_FILTER", false, 0,
                   "closing MSRs to guests at CPL 0", nullptr},
};

/// Returns the row of `id` in capability_uses. Every enumerator has one.
constexpr std::size_t index_of(capability id) {
  std::size_t row = 0;
  while (row + 1 < capability_uses.size() && capability_uses[row].id != id) ++row;
  return row;
}

/// Returns the capability's name as the kernel spells it.
constexpr const char* name(capability id) {
  return capability_uses[index_of(id)].name;
}

}  // namespace virtine::kvm
