// One virtual machine: the ioctls of a VM descriptor.
// Knows nothing of what its memory holds or of how its vCPUs are run.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <virtine/error.hpp>
#include <virtine/kvm/capability.hpp>
#include <virtine/kvm/ioctl.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/kvm/vcpu.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/result.hpp>

namespace virtine::kvm {

/// Returns the slot that shows `memory` to guests at guest-physical `address`. Whoever gives it to
/// a VM keeps the memory mapped as long as the slot exists.
inline kvm_userspace_memory_region slot_of(std::uint32_t number, std::uint64_t address,
                                           std::span<std::byte> memory, std::uint32_t flags = 0) {
  // Sound: nothing here dereferences it.
  return {.slot = number,
          .flags = flags,
          .guest_phys_addr = address,
          .memory_size = memory.size(),
          .userspace_addr = reinterpret_cast<std::uint64_t>(memory.data())};
}

/// Owns a VM. Its vCPUs may outlive it. Every ioctl fails as os::explain() says, with its kernel
/// name as the operation.
class vm {
 public:
  /// Takes a VM descriptor; system::create_vm makes one.
  explicit vm(os::fd&& file) noexcept : file_(std::move(file)) {}

  /// Creates the vCPU `id`, with a state os::mapping of `mmap_size` bytes (system::vcpu_mmap_size).
  result<vcpu> create_vcpu(unsigned id, std::size_t mmap_size) {
    const result<int> made = call(file_.get(), requests::create_vcpu, id);
    if (!made) return made.error();
    os::fd file{*made};
    // The kernel gives more, but vcpu relies on no more than this.
    if (mmap_size < sizeof(kvm_run)) return os::explain(requests::create_vcpu.name, EINVAL);
    result<os::mapping> run = os::mapping::of(file, mmap_size, os::sharing::shared);
    if (!run) return run.error();
    return vcpu(std::move(file), *std::move(run));
  }

  /// Creates, changes or, with memory_size 0, deletes a memory slot. The memory at userspace_addr
  /// must stay mapped until the slot is gone; KVM reports what is missing from it as a failed
  /// run().
  result<void> set_user_memory_region(const kvm_userspace_memory_region& region) {
    return drop_value(call(file_.get(), requests::set_user_memory_region, region));
  }

  /// Sets how many pages KVM uses at most to shadow guests' page tables. Its default is 64, or 2 %
  /// of the pages in slots if that is more.
  result<void> set_nr_mmu_pages(std::size_t pages) {
    return drop_value(call(file_.get(), requests::set_nr_mmu_pages, pages));
  }

  /// Reserves three pages of guest-physical memory for KVM, below 4 GiB and in no slot. Guests in
  /// real mode need it on Intel processors without unrestricted guest mode (api.rst, 4.36).
  result<void> set_tss_addr(std::uint32_t address) {
    return drop_value(call(file_.get(), requests::set_tss_addr, address));
  }

  /// Turns a capability on.
  result<void> enable_cap(const kvm_enable_cap& cap) {
    return drop_value(call(file_.get(), requests::enable_cap, cap));
  }

  /// Denies the guest every MSR but those in `allowed`; RDMSR and WRMSR of another raise #GP in it.
  /// Does not bind the host's get_msrs and set_msrs, nor the x2APIC's MSRs (api.rst, 4.97). Fails
  /// with E2BIG if the allowed ones need more than 16 runs of 64 consecutive MSRs.
  result<void> set_msr_filter(std::span<const std::uint32_t> allowed) {
    kvm_msr_filter filter{};
    std::array<std::uint64_t, KVM_MSR_FILTER_MAX_RANGES> bitmaps{};
    filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
    std::size_t used = 0;
    for (const std::uint32_t msr : allowed) {
      std::size_t row = 0;
      while (row < used && msr - filter.ranges[row].base >= 64) ++row;
      if (row == bitmaps.size()) return os::explain(requests::x86_set_msr_filter.name, E2BIG);
      if (row == used) use_range(filter.ranges[used++], msr, bitmaps[row]);
      bitmaps[row] |= std::uint64_t{1} << (msr - filter.ranges[row].base);
    }
    // Because the kernel refuses a filter that denies by default and has no range at all.
    if (used == 0) use_range(filter.ranges[0], 0, bitmaps[0]);
    // Sound: every range's bitmap has the 64 bits it declares and lives until the call returns; the
    // kernel copies it.
    return drop_value(call(file_.get(), requests::x86_set_msr_filter, filter));
  }

  /// Returns what this VM has of a capability: 0, or more if it has it.
  result<int> check_extension(capability id) const {
    return call(file_.get(), requests::check_extension, static_cast<unsigned long>(id));
  }

 private:
  static void use_range(kvm_msr_filter_range& range, std::uint32_t base, std::uint64_t& bitmap) {
    range.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    range.nmsrs = 64;
    range.base = base;
    // Sound: the kernel reads whole 64-bit words, lowest bit first; the declared type is its own.
    range.bitmap = reinterpret_cast<__u8*>(&bitmap);
  }

  os::fd file_;
};

}  // namespace virtine::kvm
