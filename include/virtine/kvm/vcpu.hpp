// One virtual processor: the ioctls of a vCPU descriptor and the kvm_run page beside it.
// Knows nothing of guest memory or of what an exit means.
// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <virtine/error.hpp>
#include <virtine/kvm/exit.hpp>
#include <virtine/kvm/ioctl.hpp>
#include <virtine/kvm/uapi.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/mapping.hpp>
#include <virtine/result.hpp>

namespace virtine::kvm {

/// Owns a vCPU. One thread at a time may use it, except for request_immediate_exit. Every ioctl
/// fails as os::explain() says, with its kernel name as the operation.
class vcpu {
 public:
  /// Takes a vCPU descriptor and its mapping, at least sizeof(kvm_run) bytes; vm::create_vcpu makes
  /// both.
  vcpu(os::fd&& file, os::mapping&& run) noexcept : file_(std::move(file)), run_(std::move(run)) {}

  /// Runs the guest until the next exit. Fails with EINTR when a signal arrived or an immediate
  /// exit was requested; the guest can then go on. After any failure exit_reason is stale.
  result<void> run() { return drop_value(call(file_.get(), requests::run)); }

  /// Returns the state shared with the kernel. Its request fields are the kernel's own.
  [[nodiscard]] kvm_run& state() noexcept {
    // Sound: vm::create_vcpu maps at least sizeof(kvm_run) bytes at a page boundary, in which the
    // kernel keeps a struct kvm_run (api.rst, 5).
    return *reinterpret_cast<kvm_run*>(run_.bytes().data());
  }
  [[nodiscard]] const kvm_run& state() const noexcept {
    // Sound: as above.
    return *reinterpret_cast<const kvm_run*>(run_.bytes().data());
  }

  /// Returns the exit of the last run() that succeeded; its data stays valid until the next one.
  [[nodiscard]] kvm::exit last_exit() noexcept { return decode(state(), run_.size()); }

  /// Makes the next run(), or one under way once a signal interrupts it, return EINTR; or takes
  /// that request back. Any thread may call this.
  void request_immediate_exit(bool on) noexcept {
    std::atomic_ref(state().immediate_exit).store(on ? 1 : 0, std::memory_order_release);
  }

  /// Selects what each exit stores to the synced state (KVM_SYNC_X86_*), until changed.
  void set_valid(std::uint64_t bits) noexcept { state().kvm_valid_regs = bits; }

  /// Makes the next run() load this part of the synced state (KVM_SYNC_X86_*) first. The kernel
  /// clears what it has loaded; after EINVAL it may have left the rest set.
  void mark_dirty(std::uint64_t bits) noexcept { state().kvm_dirty_regs |= bits; }

  [[nodiscard]] kvm_regs& synced_regs() noexcept { return state().s.regs.regs; }
  [[nodiscard]] const kvm_regs& synced_regs() const noexcept { return state().s.regs.regs; }
  [[nodiscard]] kvm_sregs& synced_sregs() noexcept { return state().s.regs.sregs; }
  [[nodiscard]] const kvm_sregs& synced_sregs() const noexcept { return state().s.regs.sregs; }

  result<kvm_regs> get_regs() const { return get(requests::get_regs); }
  result<void> set_regs(const kvm_regs& regs) { return set(requests::set_regs, regs); }

  result<kvm_sregs> get_sregs() const { return get(requests::get_sregs); }
  result<void> set_sregs(const kvm_sregs& sregs) { return set(requests::set_sregs, sregs); }

  // Sound: KVM keeps to 4096 bytes unless a guest was offered AMX, which set_cpuid2 refuses
  // (api.rst, 4.42 and 4.43).
  result<xsave_area> get_xsave() const { return get(requests::get_xsave); }
  result<void> set_xsave(const xsave_area& area) { return set(requests::set_xsave, area); }

  result<kvm_xcrs> get_xcrs() const { return get(requests::get_xcrs); }
  result<void> set_xcrs(const kvm_xcrs& xcrs) { return set(requests::set_xcrs, xcrs); }

  result<kvm_debugregs> get_debugregs() const { return get(requests::get_debugregs); }
  result<void> set_debugregs(const kvm_debugregs& r) { return set(requests::set_debugregs, r); }

  result<kvm_vcpu_events> get_vcpu_events() const { return get(requests::get_vcpu_events); }
  result<void> set_vcpu_events(const kvm_vcpu_events& e) {
    return set(requests::set_vcpu_events, e);
  }

  result<kvm_mp_state> get_mp_state() const { return get(requests::get_mp_state); }
  result<void> set_mp_state(const kvm_mp_state& s) { return set(requests::set_mp_state, s); }

  /// Reads what the guest is as a host of its own. Fails with E2BIG while it runs one, and with
  /// EINVAL where KVM has no such thing.
  result<nested_state> get_nested_state() const {
    nested_state state;
    // Sound: the kernel writes no more than state.size says there is room for.
    const result<int> got = call(file_.get(), requests::get_nested_state, state);
    if (!got) return got.error();
    return state;
  }
  result<void> set_nested_state(const nested_state& s) {
    return set(requests::set_nested_state, s);
  }

  /// Sets what CPUID tells the guest; call it before set_xcrs and the first run(). Fails with
  /// EINVAL for a table that offers AMX tile data, because KVM would then read and write more than
  /// an xsave_area.
  result<void> set_cpuid2(const cpuid_table& table) {
    if (table.offers_tile_data()) return os::explain(requests::set_cpuid2.name, EINVAL);
    if (table.nent > cpuid_table::capacity) return os::explain(requests::set_cpuid2.name, E2BIG);
    // Sound: the kernel reads nent entries, and there are as many.
    return set(requests::set_cpuid2, table);
  }

  /// Reads the MSRs whose indices `msrs` holds. Fails with EINVAL at the first that cannot be read,
  /// its index in error::detail.
  template <std::size_t N>
  result<void> get_msrs(msr_entries<N>& msrs) const {
    return all_of(requests::get_msrs<N>, msrs);
  }

  /// Writes the MSRs in `msrs`, in order. Fails with EINVAL at the first that cannot be written,
  /// its index in error::detail; those before it are then set.
  template <std::size_t N>
  result<void> set_msrs(const msr_entries<N>& msrs) {
    return all_of(requests::set_msrs<N>, msrs);
  }

 private:
  template <class T>
  result<T> get(const request<T>& what) const {
    T value{};
    const result<int> got = call(file_.get(), what, value);
    if (!got) return got.error();
    return value;
  }

  template <class T>
  result<void> set(const request<const T>& what, const T& value) {
    return drop_value(call(file_.get(), what, value));
  }

  // KVM stops at the first MSR it refuses and returns how many it did (api.rst, 4.18 and 4.19).
  template <class T>
  result<void> all_of(const request<T>& what, T& msrs) const {
    if (msrs.nmsrs > msrs.entries.size()) return os::explain(what.name, E2BIG);
    // Sound: the kernel touches nmsrs entries, and there are as many.
    const result<int> done = call(file_.get(), what, msrs);
    if (!done) return done.error();
    const auto count = static_cast<std::size_t>(*done);
    if (count == msrs.nmsrs) return {};
    error why = os::explain(what.name, EINVAL);
    if (count < msrs.nmsrs) why.detail = msrs.entries[count].index;
    return why;
  }

  os::fd file_;
  os::mapping run_;
};

}  // namespace virtine::kvm
