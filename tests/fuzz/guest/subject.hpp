// A machine that goes through sequences, and what is seen of it. Knows nothing of what is right.
// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <virtine/machine/machine.hpp>
#include <virtine/machine/run_loop.hpp>

#include "host.hpp"
#include "image.hpp"
#include "judge.hpp"
#include "processor_state.hpp"

namespace guest_fuzz {

namespace detail = virtine::detail;

/// A machine whose memory and processor can be looked at.
class open_machine final : public detail::machine {
 public:
  using machine::machine;

  /// Returns the memory from `layout::begin` on.
  [[nodiscard]] std::span<const std::byte> memory() const { return memory_; }
  [[nodiscard]] const detail::layout& where() const { return where_; }
  [[nodiscard]] kvm_sregs tables() const { return sregs_; }
  [[nodiscard]] std::uint64_t origin() const { return place_.origin(); }
  [[nodiscard]] virtine::kvm::vcpu& cpu() { return vcpu(); }
  [[nodiscard]] bool was_interrupted() const {
    return !overtaken_ || *overtaken_ != detail::guest_exit::done;
  }
};

/// How a sequence ended, with all that it left.
struct ending {
  bool returned = false;
  virtine::error error = {};
  bool at_trap = false;
  kvm_regs registers{};  ///< At a trap with what it pushed, so as the guest's.
  std::array<std::uint64_t, 8> segments{};
  bytes vectors;
  std::map<std::uint64_t, bytes> pages;  ///< Those that it has changed, by their addresses.
};

class subject {
 public:
  /// Runs sequences of `of`, on machines that share VMs if `vms` is not null.
  subject(const block& of, std::shared_ptr<detail::shared_vms> vms)
      : block_(of), vms_(std::move(vms)) {}

  [[nodiscard]] bool has_machine() const { return machine_ != nullptr; }
  [[nodiscard]] open_machine& machine() { return *machine_; }
  void drop() { machine_.reset(); }

  /// Makes a machine if there is none.
  void make() {
    if (machine_ != nullptr) return;
    auto snapshot = detail::shared_snapshot<detail::machine>(block_.image.description());
    if (!snapshot) throw virtine::failure(snapshot.error());
    auto made = detail::machine::create<open_machine>(*snapshot, vms_);
    if (!made) throw virtine::failure(made.error());
    machine_ = *std::move(made);
    // So that each exit brings them along, and no ioctl is needed.
    machine_->cpu().set_valid(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
    ++made_;
  }
  [[nodiscard]] std::uint64_t made() const { return made_; }
  [[nodiscard]] std::uint64_t not_entered() const { return not_entered_; }

  /// A sequence is over when it has had the processor for its time; this bounds that, too.
  static constexpr std::chrono::seconds long_enough{600};

  /// Runs what is at `address`, on another machine if it was not entered because of what the call
  /// before has left. `write` writes the arguments.
  template <class Write>
  virtine::result<void> run(std::uint64_t address, std::chrono::milliseconds timeout,
                            const Write& write) {
    for (;;) {
      make();
      const bool fresh = machine_->use().calls() == 0;
      write(machine_->arguments());
      std::uint64_t answered = 0;
      const auto ran = detail::run_guest(
          *machine_, address, {.until = detail::deadline_after(long_enough), .cpu_time = timeout},
          [&](detail::guest_exit why) -> virtine::result<void> {
            if (why == detail::guest_exit::hypercall)
              return virtine::error{.code = virtine::errc::hypercall_denied,
                                    .detail = machine_->hypercall_number()};
            const detail::system_call call = machine_->system_call();
            if (detail::is_exit(call)) return detail::exited_by(call);
            constexpr std::uint64_t most = 100;
            if (answered++ == most)
              return virtine::error{.code = virtine::errc::hypercall_limit, .detail = most};
            machine_->answer(-ENOSYS);
            return {};
          });
      if (ran || ran.error().code != detail::not_entered || (fresh && vms_ == nullptr)) return ran;
      ++not_entered_;
      drop();
    }
  }

  /// The same of a sequence; `pristine` is the memory of a new machine.
  ending run(const sequence& of, std::uint64_t address, const processor_reader& reader,
             std::span<const std::byte> pristine, std::chrono::milliseconds timeout) {
    const auto ran = run(address, timeout, [&](std::span<std::byte> arguments) {
      std::memset(arguments.data(), 0x5c, of.arguments);
    });
    ending out;
    out.returned = ran.has_value();
    if (!ran) out.error = ran.error();
    auto& cpu = machine_->cpu();
    out.registers = cpu.synced_regs();
    const kvm_sregs special = cpu.synced_sregs();
    out.segments = {special.cs.selector, special.ss.selector, special.ds.selector,
                    special.es.selector, special.fs.selector, special.gs.selector,
                    special.fs.base,     special.gs.base};
    out.at_trap = special.cs.dpl == 0;
    if (out.at_trap) {
      const auto& where = machine_->where();
      const auto top = machine_->memory().subspan(
          where.trap_stack_top() - detail::layout::begin - virtine::x86::trap_frame_size,
          virtine::x86::trap_frame_size);
      const auto frame = virtine::x86::decode_trap_frame(top.first<virtine::x86::trap_frame_size>(),
                                                         out.error.fault.vector);
      out.registers.rip = frame.rip;
      out.registers.rsp = frame.rsp;
      out.registers.rflags = frame.rflags;
      out.segments[0] = frame.cs;
      out.segments[1] = frame.ss;
    }
    for (std::size_t i = 2; i < 6; ++i) {
      if (out.segments[i] < 4) out.segments[i] = 0;
    }
    // RF is the processor's own. Not every host tells of IOPL, or keeps NT.
    out.registers.rflags &= ~std::uint64_t{0x17000};
    if (is_emulated()) forget_what_qemu_varies(out);
    out.vectors = reader.vectors(cpu);
    for_each_writable([&](std::uint64_t at) {
      const auto content = page_at(at);
      const auto before = pristine.subspan(at - detail::layout::begin, page);
      if (std::memcmp(content.data(), before.data(), page) == 0) return;
      out.pages[at].assign(content.begin(), content.end());
    });
    return out;
  }

  /// QEMU does not always have the same flags where they are undefined, as after IMUL and BTC, and
  /// sometimes has an INT that may not be raised fault behind itself.
  void forget_what_qemu_varies(ending& of) const {
    constexpr std::uint64_t arithmetic_flags = 0x8d5;
    of.registers.rflags &= ~arithmetic_flags;
    virtine::fault& fault = of.error.fault;
    constexpr std::uint32_t of_interrupt_table = 2;
    if (fault.vector != 13 || (fault.error_code & of_interrupt_table) == 0) return;
    const auto memory = machine_->memory();
    const auto byte = [&](std::uint64_t at) -> unsigned {
      const std::uint64_t offset = at - detail::layout::begin;
      return offset < memory.size() ? std::to_integer<unsigned>(memory[offset]) : 0;
    };
    constexpr unsigned int_opcode = 0xcd;
    constexpr std::uint64_t int_size = 2;
    std::uint64_t at = fault.instruction;
    if (byte(at - int_size) == int_opcode) {
      at -= int_size;
    } else {
      while (is_prefix(byte(at))) ++at;
    }
    if (byte(at) == int_opcode) fault.instruction = of.registers.rip = at;
  }

  /// The arguments that run() wrote, as restore() is told.
  void restore(std::size_t arguments) { machine_->restore(arguments); }

  [[nodiscard]] std::span<const std::byte> page_at(std::uint64_t address) const {
    return machine_->memory().subspan(address - detail::layout::begin, page);
  }

  template <class Function>
  void for_each_writable(const Function& function) const {
    const places& where = block_.where;
    for (std::uint64_t at = where.data; at < where.stack_end; at += page) {
      if (at < where.guard || at >= where.stack) function(at);
    }
  }

 private:
  const block& block_;
  std::shared_ptr<detail::shared_vms> vms_;
  std::unique_ptr<open_machine> machine_;
  std::uint64_t made_ = 0;
  std::uint64_t not_entered_ = 0;
};

}  // namespace guest_fuzz
