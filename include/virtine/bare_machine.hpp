// A bare machine: flat memory and a guest at CPL 0 in any processor mode, for assembly blobs. By
// hand or from an image. Knows nothing of argument types, policies or pools.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <virtine/fault_report.hpp>
#include <virtine/guest_access.hpp>
#include <virtine/guest_cpu.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/kvm/explain.hpp>
#include <virtine/kvm/fd.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/out_of_memory.hpp>
#include <virtine/result.hpp>
#include <virtine/runner.hpp>
#include <virtine/stop.hpp>
#include <virtine/x86/bytes.hpp>
#include <virtine/x86/page_table.hpp>

namespace virtine {

/// What a bare machine made by hand is.
struct bare_options {
  x86::cpu_mode mode = x86::cpu_mode::long64;  ///< Any but user64.
  std::uint64_t memory = 1024 * 1024;          ///< Bytes from address 0; a multiple of 4096.
};

/// A VM with one vCPU at CPL 0 and flat memory from address 0. One thread at a time may use it. The
/// guest owns all of the machine, so reset() restores all of it: its cost grows with the memory.
/// long64 guests find an identity map in the page tables at `tables`.
class bare_machine final : public guest_access {
 public:
  // The map of bare images; docs/guest-abi.md. By hand, only `tables` is taken.
  static constexpr std::uint64_t frame = 0x1000;
  static constexpr std::uint64_t tables = 0x4000;
  static constexpr std::uint64_t stack_top = 0x8000;
  static constexpr std::uint64_t load_address = 0x8000;

  /// Creates a machine by hand: zeroed memory, RIP 0. Load something, set_registers(), run().
  static result<std::unique_ptr<bare_machine>> create(const bare_options& options) {
    return detail::or_out_of_memory([&] { return make(options); });
  }

  /// Creates a machine of a bare image, which must outlive it.
  static result<std::unique_ptr<bare_machine>> create(const image_description& image) {
    auto made = create(bare_options{.mode = image.mode, .memory = image.memory_size});
    if (!made) return made;
    (*made)->image_ = &image;
    // Again, because only now is it known whether it boots from real mode.
    if (auto reset = (*made)->reset_registers(); !reset) return reset.why();
    for (const segment& s : image.segments) {
      auto loaded = (*made)->load(guest_address{s.address}, std::as_bytes(std::span(s.content)));
      if (!loaded) return loaded.why();
    }
    return made;
  }

  // By hand.

  /// Copies `from` to `address`. What is loaded before the first run is what reset() returns to.
  result<void> load(guest_address address, std::span<const std::byte> from) {
    return memory().write(address, from);
  }

  /// Copies a file's content to `address`. Fails with errc::kvm_call if it cannot be read.
  result<void> load_file(guest_address address, const std::string& path) {
    const kvm::fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) return kvm::explain("the file to load cannot be opened", errno);
    return detail::or_out_of_memory([&]() -> result<void> {
      std::vector<std::byte> content;
      std::array<std::byte, x86::page_size> part;
      for (;;) {
        const ::ssize_t got = ::read(file.get(), part.data(), part.size());
        if (got < 0) return kvm::explain("read", errno);
        if (got == 0) break;
        content.insert(content.end(), part.begin(), part.begin() + got);
        if (content.size() > memory_.size()) break;  // load() will refuse it.
      }
      return load(address, content);
    });
  }

  /// Returns a view of all of the guest's memory; the host may write through it while the guest is
  /// stopped.
  [[nodiscard]] guest_memory memory() const { return {guest_address{0}, memory_.bytes()}; }

  [[nodiscard]] result<kvm_regs> registers() const { return runner_.vcpu().get_regs(); }

  /// Sets the general registers, RIP and RFLAGS.
  result<void> set_registers(const kvm_regs& regs) {
    if (auto left = leave_exit(); !left) return left;
    return runner_.vcpu().set_regs(regs);
  }

  /// Runs to the next exit. Fails with errc::timed_out after `timeout`. The exit's data is valid
  /// until the next run.
  result<kvm::exit> run(std::chrono::nanoseconds timeout = std::chrono::seconds(10)) {
    remember();
    runner_.begin({.until = deadline_after(timeout)});
    auto ran = runner_.run();
    if (auto ended = runner_.end(); !ended) return ended.why();
    if (!ran) return ran.why();
    return runner_.vcpu().last_exit();
  }

  /// Returns the machine to its state before the first run: all memory and every register that a
  /// guest at CPL 0 can change.
  result<void> reset() {
    if (auto left = leave_exit(); !left) return left;
    if (!pristine_.empty()) std::memcpy(memory_.bytes().data(), pristine_.data(), pristine_.size());
    return reset_registers();
  }

  // As a machine of an image; see machine.

  [[nodiscard]] std::span<std::byte> arguments() {
    return memory_.bytes().subspan(frame, image_->arguments_size);
  }
  [[nodiscard]] guest_address arguments_address() const { return guest_address{frame}; }

  [[nodiscard]] result<stop> enter(std::uint64_t function, const run_limits& limits) {
    if (poisoned_) {
      return error{.code = errc::machine_failure,
                   .operation = "the machine is poisoned by a call that failed"};
    }
    kvm_regs regs{};
    regs.rip = image_->boot != 0 ? image_->boot : function;
    regs.rsp = stack_top;
    regs.rdi = frame;
    regs.rbx = function;  // Boot code jumps there.
    regs.rflags = x86::initial_rflags;
    if (auto set = runner_.vcpu().set_regs(regs); !set) return set.why();
    runner_.begin(limits);
    return go_on();
  }
  [[nodiscard]] result<stop> resume() { return go_on(); }
  void abandon() {
    if (runner_.running()) static_cast<void>(runner_.end());
    poisoned_ = true;
  }
  [[nodiscard]] std::uint32_t hypercall_number() const {
    return static_cast<std::uint32_t>(runner_.vcpu().synced_regs().rax);
  }
  [[nodiscard]] guest_address hypercall_frame() const {
    return guest_address{runner_.vcpu().synced_regs().rdi};
  }
  [[nodiscard]] std::shared_ptr<const void> shared_state() const { return runner_.guard(); }
  [[nodiscard]] bool poisoned() const { return poisoned_; }
  /// A restore copies all memory, whatever was written: there is no set that could grow.
  [[nodiscard]] std::span<const std::uint64_t> write_set() const { return {}; }
  void restore(std::size_t) {
    if (!reset()) poisoned_ = true;
  }

  result<std::span<const std::byte>> read(guest_address address, std::uint64_t length) override {
    auto found = memory().view(address, length);
    if (!found) return found.why();
    return std::span<const std::byte>(*found);
  }
  result<void> write(guest_address address, std::span<const std::byte> from) override {
    return memory().write(address, from);
  }

 private:
  static constexpr std::uint32_t msr_efer = 0xc0000080;
  static constexpr std::uint32_t msr_fs_base = 0xc0000100;
  static constexpr std::uint32_t msr_gs_base = 0xc0000101;
  static constexpr std::uint32_t msr_kernel_gs_base = 0xc0000102;

  static result<std::unique_ptr<bare_machine>> make(const bare_options& options) {
    if (options.mode == x86::cpu_mode::user64 || options.memory < load_address ||
        options.memory % x86::page_size != 0) {
      return error{.code = errc::out_of_range,
                   .operation =
                       "a bare machine needs a bare mode and at least 32 KiB of memory in "
                       "whole pages; its memory is",
                   .detail = options.memory};
    }
    auto guard = watchdog::shared();
    if (!guard) return guard.why();
    auto system = kvm::system::shared();
    if (!system) return system.why();
    if (!(*system)->has(kvm::capability::x86_msr_filter)) {
      return error{.code = errc::no_kvm,
                   .operation = "bare machines need KVM_CAP_X86_MSR_FILTER (Linux 5.10)"};
    }
    auto cpu = guest_cpu::shared();
    if (!cpu) return cpu.why();
    auto memory = kvm::mapping::anonymous(options.memory);
    if (!memory) return memory.why();
    auto vm = (*system)->create_vm();
    if (!vm) return vm.why();
    // Real mode on Intel processors without unrestricted guest mode needs this (api.rst, 4.29).
    if (auto set = vm->set_tss_addr(0xfffbd000); !set) return set.why();
    // A guest at CPL 0 could hide values for the next call in MSRs that no reset lists, or have the
    // kernel write to its memory through KVM's own. These are all it gets; reset() sets them.
    constexpr std::array<std::uint32_t, 3> open{msr_efer, msr_fs_base, msr_gs_base};
    if (auto set = vm->set_msr_filter(open); !set) return set.why();
    // Sound: memory is declared before the VM in the machine, and so outlives it.
    const kvm_userspace_memory_region region{
        .slot = 0,
        .flags = 0,
        .guest_phys_addr = 0,
        .memory_size = options.memory,
        .userspace_addr = reinterpret_cast<std::uint64_t>(memory->bytes().data())};
    if (auto set = vm->set_user_memory_region(region); !set) return set.why();
    auto vcpu = vm->create_vcpu(0, (*system)->vcpu_mmap_size());
    if (!vcpu) return vcpu.why();
    if (auto set = (*cpu)->set_up(*vcpu); !set) return set.why();
    std::unique_ptr<bare_machine> made(new bare_machine(
        options, **cpu, *std::move(memory), *std::move(vm), *std::move(vcpu), *std::move(guard)));
    if (auto reset = made->reset_registers(); !reset) return reset.why();
    return made;
  }

  bare_machine(const bare_options& options, const guest_cpu& cpu, kvm::mapping memory, kvm::vm vm,
               kvm::vcpu vcpu, std::shared_ptr<watchdog> guard)
      : options_(options),
        cpu_(cpu),
        memory_(std::move(memory)),
        vm_(std::move(vm)),
        runner_(std::move(vcpu), std::move(guard)) {
    runner_.vcpu().set_valid(KVM_SYNC_X86_REGS);
    if (options.mode == x86::cpu_mode::long64) {
      const std::uint64_t mapped =
          std::min<std::uint64_t>(options.memory, x86::large_page_size * 512);
      x86::build_identity_2m(
          memory_.bytes().subspan(tables, x86::identity_2m_tables * x86::page_size), tables,
          mapped);
    }
  }

  void remember() {
    if (pristine_.empty()) pristine_.assign(memory_.bytes().begin(), memory_.bytes().end());
  }

  /// Completes what KVM has pending for the last exit. Otherwise it would be applied to the state
  /// set next: a register loaded from a port, half of a store, or a skipped instruction.
  result<void> leave_exit() {
    kvm::vcpu& vcpu = runner_.vcpu();
    vcpu.request_immediate_exit(true);
    result<void> left;
    for (int parts = 0; parts < 4; ++parts) {  // A 16-byte store is two exits.
      left = vcpu.run();
      if (!left) break;
    }
    vcpu.request_immediate_exit(false);
    if (left || left.why().os_error == EINTR) return {};
    return left;
  }

  static kvm_debugregs initial_debugregs() {
    kvm_debugregs registers{};
    registers.dr6 = 0xffff0ff0;
    registers.dr7 = 0x400;
    return registers;
  }

  /// x87, SSE and all beyond as after a processor reset. Both state bits are set because without
  /// them KVM on some hosts leaves MXCSR as it is.
  static kvm::xsave_area initial_vector_state() {
    kvm::xsave_area area;
    x86::store(area.bytes, 0, std::uint16_t{0x37f});
    x86::store(area.bytes, 24, std::uint32_t{0x1f80});
    x86::store(area.bytes, 512, std::uint64_t{3});
    return area;
  }

  result<void> reset_registers() {
    kvm::vcpu& vcpu = runner_.vcpu();
    const bool boots = image_ != nullptr && image_->boot != 0;
    kvm_sregs sregs = cpu_.special_registers(boots ? x86::cpu_mode::real16 : options_.mode);
    if (sregs.cr0 & x86::cr0_pg) sregs.cr3 = tables;
    if (auto set = vcpu.set_sregs(sregs); !set) return set;
    vcpu.state().cr8 = 0;  // Without an APIC in the kernel, KVM_RUN takes CR8 from here.
    kvm_regs regs{};
    regs.rflags = x86::initial_rflags;
    if (auto set = vcpu.set_regs(regs); !set) return set;
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = cpu_.xcr0 != 0 ? 1 : 0;
    xcrs.xcrs[0].value = cpu_.xcr0;
    if (auto set = vcpu.set_xcrs(xcrs); !set) return set;
    if (auto set = vcpu.set_xsave(initial_vector_state()); !set) return set;
    if (auto set = vcpu.set_debugregs(initial_debugregs()); !set) {
      return set;
    }
    if (auto set = vcpu.set_vcpu_events(kvm_vcpu_events{}); !set) return set;
    if (auto set = vcpu.set_mp_state({.mp_state = KVM_MP_STATE_RUNNABLE}); !set) return set;
    // SWAPGS reaches this one without WRMSR.
    kvm::msr_entries<1> msrs;
    msrs.entries[0].index = msr_kernel_gs_base;
    return vcpu.set_msrs(msrs);
  }

  result<stop> go_on() {
    remember();
    if (auto ran = runner_.run(); !ran) return end(ran.why());
    const kvm_run& state = runner_.vcpu().state();
    if (state.exit_reason == KVM_EXIT_HLT) return end(stop::done);
    if (state.exit_reason == KVM_EXIT_IO && state.io.direction == KVM_EXIT_IO_OUT) {
      if (state.io.port == x86::done_port) return end(stop::done);
      if (state.io.port == x86::hypercall_port) return stop::hypercall;
    }
    return end(fault_of(runner_.vcpu().last_exit()));
  }

  result<stop> end(result<stop> outcome) {
    if (auto ended = runner_.end(); !ended) outcome = ended.why();
    if (!outcome) poisoned_ = true;
    return outcome;
  }

  /// A bare guest has no trap handlers, so what it does wrong ends in one of these exits.
  [[nodiscard]] error fault_of(const kvm::exit& why) const {
    error out{
        .code = errc::guest_fault, .operation = kvm::name(why), .detail = kvm::detail_of(why)};
    out.fault.instruction = runner_.vcpu().synced_regs().rip;
    if (std::holds_alternative<kvm::shutdown_exit>(why)) {
      out.fault.kind = fault_kind::triple_fault;
    } else if (std::holds_alternative<kvm::io_exit>(why)) {
      out.fault.kind = fault_kind::general_protection;
    } else if (std::holds_alternative<kvm::mmio_exit>(why)) {
      out.fault.kind = fault_kind::unmapped_access;
      out.fault.address = kvm::detail_of(why);
    } else if (std::holds_alternative<kvm::internal_error_exit>(why)) {
      out.fault.kind = fault_kind::other;
    } else {
      out.code = errc::machine_failure;
    }
    locate(out.fault, *image_);
    return out;
  }

  bare_options options_;
  const image_description* image_ = nullptr;
  const guest_cpu& cpu_;
  kvm::mapping memory_;  // Before vm_: it must be mapped as long as the VM exists.
  kvm::vm vm_;
  runner runner_;
  std::vector<std::byte> pristine_;  // Filled at the first run.
  bool poisoned_ = false;
};

}  // namespace virtine
