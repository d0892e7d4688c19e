// A bare machine: flat memory and a guest at CPL 0 in any processor mode, for assembly blobs. Made
// by hand or from an image.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <virtine/guest_memory.hpp>
#include <virtine/image.hpp>
#include <virtine/kvm/system.hpp>
#include <virtine/kvm/vm.hpp>
#include <virtine/machine/bare_processor.hpp>
#include <virtine/machine/fault_report.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/machine/machine_use.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/machine/vcpu_reset.hpp>
#include <virtine/machine/vm_place.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/fd.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/page_table.hpp>

namespace virtine {

/// The mode and the memory of a bare machine that is made by hand.
struct bare_options {
  x86::cpu_mode mode = x86::cpu_mode::long64;  ///< Any but user64.
  std::uint64_t memory = 1024 * 1024;          ///< Bytes from address 0; a multiple of 4096.
};

/// A VM with one vCPU at CPL 0 and flat memory from address 0. One thread at a time may use it. The
/// guest owns the whole machine, so reset() restores all of it, and its cost grows with the memory.
/// long64 guests find an identity map in the page tables at `tables`.
class bare_machine final : public detail::guest_access {
 public:
  // The map of bare images; docs/guest-abi.md. By hand, only `tables` is taken.
  static constexpr std::uint64_t frame = detail::bare_layout::frame;
  static constexpr std::uint64_t tables = detail::bare_layout::tables;
  static constexpr std::uint64_t stack_top = detail::bare_layout::stack_top;
  static constexpr std::uint64_t load_address = detail::bare_layout::load_address;

  /// Creates a machine by hand: zeroed memory, RIP 0. Load something, set_registers(), run().
  static result<std::unique_ptr<bare_machine>> create(const bare_options& options) {
    return os::or_out_of_memory([&] { return make(options); });
  }

  /// Creates a machine of a bare image, which must outlive it. The machine keeps a copy of what
  /// every call begins with, so the pages of the image take memory twice. Fails with
  /// errc::bad_argument if it is to share a VM, which a guest at CPL 0 cannot.
  template <std::same_as<image_description> Image>  // Not of braces, which are options.
  static result<std::unique_ptr<bare_machine>> create(
      const Image& image, const detail::run_limits& = {},
      const std::shared_ptr<detail::shared_vms>& vms = {}) {
    if (vms != nullptr) {
      return error{.code = errc::bad_argument,
                   .operation =
                       "a bare machine has page tables of its own making and cannot share its VM; "
                       "set pool_options::machines_per_vm to 1"};
    }
    auto made = create(bare_options{.mode = image.mode, .memory = image.memory_size});
    if (!made) return made;
    (*made)->image_ = &image;
    // Again, because only now is it known whether it boots from real mode.
    if (auto reset = (*made)->reset_registers(); !reset) return reset.error();
    for (const segment& s : image.segments) {
      auto loaded = (*made)->load(guest_address{s.address}, std::as_bytes(std::span(s.content)));
      if (!loaded) return loaded.error();
    }
    // Now, because the next to write to this memory is a call, with its arguments.
    if (auto kept = (*made)->remember(); !kept) return kept.error();
    return made;
  }

  // By hand.

  /// Copies `from` to `address`. reset() returns to what was loaded before the first run.
  result<void> load(guest_address address, std::span<const std::byte> from) {
    return memory().write(address, from);
  }

  /// Copies a file's content to `address`. Fails with errc::os_error if it cannot be read.
  result<void> load_file(guest_address address, const std::string& path) {
    const os::fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) return os::explain("the file to load cannot be opened", errno);
    return os::or_out_of_memory([&]() -> result<void> {
      std::vector<std::byte> content;
      std::array<std::byte, x86::page_size> part;
      for (;;) {
        const ::ssize_t got = ::read(file.get(), part.data(), part.size());
        if (got < 0) return os::explain("read", errno);
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
    if (auto left = detail::vcpu_reset::complete_exit(runner_.vcpu()); !left) return left;
    return runner_.vcpu().set_regs(regs);
  }

  /// Runs to the next exit. Fails with errc::timed_out after `timeout`; then the guest cannot go
  /// on, because not every host keeps its place, and only reset() helps. The data of the exit is
  /// valid until the next run.
  result<kvm::exit> run(std::chrono::nanoseconds timeout = std::chrono::seconds(10)) {
    if (auto good = usable(); !good) return good.error();
    if (auto kept = remember(); !kept) return kept.error();
    runner_.begin({.until = detail::deadline_after(timeout)});
    auto ran = runner_.run();
    if (auto ended = runner_.end(); !ended) return ended.error();
    if (!ran) return ran.error();
    return runner_.vcpu().last_exit();
  }

  /// Returns the machine to its state before the first run: all memory and every register that a
  /// guest at CPL 0 can change.
  result<void> reset() {
    if (auto good = usable(); !good) return good;
    auto done = take_back();
    // Half of a guest is left in it.
    if (!done) poisoned_ = true;
    return done;
  }

  // As a machine of an image; see machine.

  [[nodiscard]] std::span<std::byte> arguments() {
    return memory_.bytes().subspan(frame, image_->arguments_size);
  }
  [[nodiscard]] guest_address arguments_address() const { return guest_address{frame}; }

  [[nodiscard]] result<detail::guest_exit> enter(std::uint64_t function,
                                                 const detail::run_limits& limits) {
    if (auto good = usable(); !good) return good.error();
    kvm_regs regs{};
    regs.rip = image_->boot != 0 ? image_->boot : function;
    regs.rsp = stack_top;
    regs.rdi = frame;
    regs.rbx = function;  // Boot code jumps there.
    regs.rflags = x86::initial_rflags;
    if (auto set = runner_.vcpu().set_regs(regs); !set) return set.error();
    use_.count_call();
    runner_.begin(limits);
    return go_on();
  }
  [[nodiscard]] result<detail::guest_exit> resume() { return go_on(); }
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
  [[nodiscard]] detail::machine_use& use() { return use_; }
  /// A restore copies all memory, whatever was written: there is no set that could grow.
  [[nodiscard]] std::span<const std::uint64_t> write_set() const { return {}; }
  static void outgrown() {}
  void restore(std::size_t) { static_cast<void>(reset()); }

  result<std::span<const std::byte>> read(guest_address address, std::uint64_t length) override {
    auto found = memory().view(address, length);
    if (!found) return found.error();
    runner_.count(&call_usage::bytes_out, length);
    return std::span<const std::byte>(*found);
  }
  result<void> write(guest_address address, std::span<const std::byte> from) override {
    runner_.count(&call_usage::bytes_in, from.size());
    return memory().write(address, from);
  }

 private:
  static result<std::unique_ptr<bare_machine>> make(const bare_options& options) {
    if (options.mode == x86::cpu_mode::user64 || options.memory < load_address ||
        options.memory % x86::page_size != 0) {
      return error{.code = errc::out_of_range,
                   .operation =
                       "a bare machine needs a bare mode and at least 32 KiB of memory in "
                       "whole pages; its memory is",
                   .detail = options.memory};
    }
    auto guard = detail::watchdog::shared();
    if (!guard) return guard.error();
    auto system = kvm::system::shared();
    if (!system) return system.error();
    auto processor = detail::bare_processor::of(**system);
    if (!processor) return processor.error();
    auto memory = os::mapping::guarded(options.memory);
    if (!memory) return memory.error();
    auto vm = (*system)->create_vm();
    if (!vm) return vm.error();
    if (auto confined = detail::bare_processor::confine(*vm); !confined) return confined.error();
    // It is declared before the VM in the machine, and so outlives it.
    if (auto set = vm->set_user_memory_region(kvm::slot_of(0, 0, memory->bytes())); !set)
      return set.error();
    auto vcpu = vm->create_vcpu(0, (*system)->vcpu_mmap_size());
    if (!vcpu) return vcpu.error();
    if (auto set = processor->set_up(*vcpu); !set) return set.error();
    std::unique_ptr<bare_machine> made(new bare_machine(options, *processor, *std::move(memory),
                                                        *std::move(vm), *std::move(vcpu),
                                                        *std::move(guard)));
    if (auto reset = made->reset_registers(); !reset) return reset.error();
    return made;
  }

  bare_machine(const bare_options& options, const detail::bare_processor& processor,
               os::mapping memory, kvm::vm vm, kvm::vcpu vcpu,
               std::shared_ptr<detail::watchdog> guard)
      : options_(options),
        processor_(processor),
        memory_(std::move(memory)),
        vm_(std::move(vm)),
        runner_(std::move(vcpu), std::move(guard), {.memory = memory_.bytes()}) {
    runner_.vcpu().set_valid(KVM_SYNC_X86_REGS);
    if (options.mode == x86::cpu_mode::long64) {
      const std::uint64_t mapped =
          std::min<std::uint64_t>(options.memory, x86::large_page_size * 512);
      x86::build_identity_2m(
          memory_.bytes().subspan(tables, x86::identity_2m_tables * x86::page_size), tables,
          mapped);
    }
  }

  /// Makes `to` the same as `from`. Pages that nobody has written to take no memory, so this reads
  /// before it writes.
  static void copy_pages(std::span<std::byte> to, std::span<const std::byte> from) {
    for (std::size_t at = 0; at < to.size(); at += x86::page_size) {
      if (std::memcmp(&to[at], &from[at], x86::page_size) == 0) continue;
      std::memcpy(&to[at], &from[at], x86::page_size);
    }
  }

  /// Keeps what memory holds, for reset() to return to. Once.
  result<void> remember() {
    if (pristine_.size() != 0) return {};
    auto copy = os::mapping::anonymous(memory_.size());
    if (!copy) return copy.error();
    copy_pages(copy->bytes(), memory_.bytes());
    pristine_ = *std::move(copy);
    return {};
  }

  [[nodiscard]] result<void> usable() const {
    if (!poisoned_) return {};
    return error{
        .code = errc::machine_failure,
        .operation = "a call or a reset of this machine has failed; destroy it and create another"};
  }

  /// Takes back everything that a guest can have changed.
  result<void> take_back() {
    // First, because it can write to memory and registers.
    if (auto left = detail::vcpu_reset::complete_exit(runner_.vcpu()); !left) return left;
    if (pristine_.size() != 0) copy_pages(memory_.bytes(), pristine_.bytes());
    const auto slot = kvm::slot_of(0, 0, memory_.bytes());
    if (auto done = processor_.forget_translations(vm_, slot); !done) return done;
    return reset_registers();
  }

  result<void> reset_registers() {
    const bool boots = image_ != nullptr && image_->boot != 0;
    return processor_.reset(runner_.vcpu(), boots ? x86::cpu_mode::real16 : options_.mode, tables);
  }

  result<detail::guest_exit> go_on() {
    if (auto ran = runner_.run(); !ran) return end(ran.error());
    const kvm_run& state = runner_.vcpu().state();
    if (state.exit_reason == KVM_EXIT_HLT) return end(detail::guest_exit::done);
    if (state.exit_reason == KVM_EXIT_IO && state.io.direction == KVM_EXIT_IO_OUT) {
      if (state.io.port == x86::done_port) return end(detail::guest_exit::done);
      if (state.io.port == x86::hypercall_port) {
        return runner_.step_out() ? detail::guest_exit::hypercall
                                  : end(detail::guest_exit::hypercall);
      }
    }
    return end(fault_of(runner_.vcpu().last_exit()));
  }

  result<detail::guest_exit> end(result<detail::guest_exit> outcome) {
    if (auto ended = runner_.end(); !ended) outcome = ended.error();
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
    detail::locate(out, *image_);
    return out;
  }

  bare_options options_;
  const image_description* image_ = nullptr;
  detail::bare_processor processor_;
  os::mapping memory_;  // Before vm_: it must be mapped as long as the VM exists.
  kvm::vm vm_;
  detail::runner runner_;
  os::mapping pristine_;  // What memory_ returns to; empty until remember().
  bool poisoned_ = false;
  detail::machine_use use_;
};

}  // namespace virtine
