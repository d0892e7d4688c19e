// A machine for one call under a debugger: where another's call would be over because its guest has
// trapped, this one's stands still. Knows nothing of packets or of what is called.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <virtine/error.hpp>
#include <virtine/gdb/connection.hpp>
#include <virtine/gdb/registers.hpp>
#include <virtine/gdb/server.hpp>
#include <virtine/image.hpp>
#include <virtine/machine/deadline.hpp>
#include <virtine/machine/fault_report.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/machine.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/os/error_text.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/trap.hpp>

namespace virtine::gdb {

/// When a call waits for a debugger.
enum class attach : std::uint8_t {
  at_entry,  ///< At the first instruction of what is called.
  at_fault,  ///< When the guest has faulted; until then it runs freely.
};

}  // namespace virtine::gdb

namespace virtine::gdb::detail {

/// A machine whose call a debugger can stop, look at and change. It is not to be used for another:
/// what the debugger did to its memory, code included, nothing undoes.
///
/// A guest that runs does so for a `glance` at a time, after which the machine looks whether the
/// debugger has something to say. Breakpoints are an INT3 in this machine's own copy of the page,
/// there while the guest runs only, and steps are made by RFLAGS.TF, so that both end in the stubs
/// that all exceptions go through: what else KVM offers does not work on every host.
class debugged_machine final : public virtine::detail::machine, private target {
 public:
  using machine::machine;

  static result<std::unique_ptr<debugged_machine>> create(
      const image_description& image, const virtine::detail::run_limits& limits) {
    auto from = virtine::detail::shared_snapshot<virtine::detail::machine>(image, limits);
    if (!from) return from.error();
    auto made = machine::create<debugged_machine>(*std::move(from));
    if (made) (*made)->stand_on_code();
    return made;
  }

  /// Says, before the call, how it is debugged. `open` opens what the debugger connects to.
  void debug(attach when, std::function<result<listener>()> open) {
    when_ = when;
    open_ = std::move(open);
  }

  [[nodiscard]] result<virtine::detail::guest_exit> enter(
      std::uint64_t function, const virtine::detail::run_limits& limits) {
    limits_ = limits;
    return os::or_out_of_memory([&]() -> result<virtine::detail::guest_exit> {
      if (when_ == attach::at_entry) {
        if (auto opened = open_now(); !opened) return opened.error();
        if (!put(function)) {
          return os::explain("the debugged function cannot be stopped at its entry", errno);
        }
      }
      return watch(machine::enter(function, next_glance()));
    });
  }
  [[nodiscard]] result<virtine::detail::guest_exit> resume() {
    return os::or_out_of_memory([&] {
      begin_again(next_glance());
      return watch(machine::resume());
    });
  }

  /// Tells the debugger, if there is one, that the call is over, and what went wrong or null.
  void tell_end(const error* why) {
    static_cast<void>(os::or_out_of_memory([&]() -> result<void> {
      if (server_) server_->tell_end(why, limits_);
      return {};
    }));
  }

 private:
  static constexpr std::byte int3{0xcc};

  [[nodiscard]] virtine::detail::run_limits next_glance() const {
    return {.until = std::min(limits_.until, virtine::detail::monotonic::now() + glance),
            .stop = limits_.stop,
            .stop_if = limits_.stop_if};
  }

  /// Has the guest stopped by what it executes at CPL 3 alone: it is to go on afterwards, and one
  /// that is stopped while the processor or a stub reads the tables could not on every host.
  void stand_on_code() {
    guest_runner().stand_on(
        {bytes(x86::trampoline_page, where_.shared_end - x86::trampoline_page), PROT_READ});
  }

  result<void> open_now() {
    auto opened = open_();
    if (!opened) return opened.error();
    listener_.emplace(*std::move(opened));
    return {};
  }

  /// Waits for a debugger, unless there is one.
  result<void> meet() {
    if (server_) return {};
    if (!listener_) {
      if (auto opened = open_now(); !opened) return opened;
    }
    auto come = listener_->accept(limits_);
    if (!come) return come.error();
    listener_.reset();
    server_.emplace(*std::move(come));
    return {};
  }

  /// Goes on until the guest has stopped for something other than the debugger.
  result<virtine::detail::guest_exit> watch(result<virtine::detail::guest_exit> stopped) {
    while (!stopped) {
      error why = stopped.error();
      bool glanced = false;
      if (why.code == errc::timed_out || why.code == errc::cancelled) {
        if (auto going_on = virtine::detail::check(limits_); !going_on) return going_on.error();
        // The guest may have come to something by itself in the very moment of the glance.
        if (overtaken_) {
          poisoned_ = false;
          stopped = overtaken_;
          break;
        }
        why = overtaken_.error();
        glanced = true;
      }
      auto handled = why.os_error == EINTR ? poll_debugger() : pause(why, glanced);
      if (!handled) return handled.error();
      poisoned_ = false;
      arrival_ = virtine::detail::arrival::over;
      guest_runner().begin(next_glance());
      stopped = machine::resume();
    }
    // Whoever serves the guest now has all of the call's time, not the rest of a glance.
    if (*stopped != virtine::detail::guest_exit::done) begin_again(limits_);
    return stopped;
  }

  /// Gives the call that runs other limits, even if those that it has are over.
  void begin_again(const virtine::detail::run_limits& limits) {
    if (guest_runner().running()) static_cast<void>(guest_runner().end());
    guest_runner().begin(limits);
    static_cast<void>(guest_runner().step_out());
  }

  /// Lets a guest that was interrupted go on, unless the debugger wants it to stop.
  result<void> poll_debugger() {
    if (!server_) return {};
    auto wanted = server_->wants_stop(limits_);
    if (!wanted) return wanted.error();
    interrupt_ = interrupt_ || *wanted;
    if (!interrupt_) return {};
    // Makes the registers those of the next instruction, whatever the last exit was.
    vcpu().request_immediate_exit(true);
    const auto ran = vcpu().run();
    vcpu().request_immediate_exit(false);
    if (ran || ran.error().os_error != EINTR) {
      return ran ? unexpected_exit() : ran.error();
    }
    auto regs = vcpu().get_regs();
    if (!regs) return regs.error();
    auto sregs = vcpu().get_sregs();
    if (!sregs) return sregs.error();
    if (sregs->cs.dpl == 0) return {};  // In a stub, and about to make an exit of its own.
    interrupt_ = false;
    regs->rflags &= ~(stepping_ ? rflags_tf : 0);
    return run_debugger({.why = signal::interrupt}, *regs, *sregs, nullptr);
  }

  /// Stands still at what would have ended the call by `why`, if that is the guest's doing.
  /// `glanced`: whether the guest was stopped in the same moment.
  result<void> pause(const error& why, bool glanced) {
    if (why.code != errc::guest_fault && why.code != virtine::detail::not_entered) return why;
    auto sregs = vcpu().get_sregs();
    if (!sregs) return sregs.error();
    const auto vector = x86::trap_vector(vcpu().state().io.port);
    kvm_regs regs = vcpu().synced_regs();
    // Without a trap, the guest has used a port as it must not: there is no way on from there.
    if (!vector || sregs->cs.dpl != 0) return at_fault(why, regs, *sregs);
    const virtine::detail::trap taken = last_trap(*vector, *sregs);
    if (glanced && is_repeatable(taken.vector)) {
      // A KVM that emulates an instruction whose code is missing makes a fault of that. The guest
      // does it once more; a fault of its own comes back.
      back_to_user(taken.frame, *sregs);
      return {};
    }
    regs.rip = taken.frame.rip;
    regs.rsp = taken.frame.rsp;
    regs.rflags = taken.frame.rflags & ~(stepping_ ? rflags_tf : 0);
    sregs->cs.selector = static_cast<std::uint16_t>(taken.frame.cs);
    sregs->ss.selector = static_cast<std::uint16_t>(taken.frame.ss);
    using kind = x86::exception_vector;
    if (taken.vector == kind::breakpoint && original_.contains(regs.rip - 1)) {
      regs.rip -= 1;
      // Where only a step or the entry has put one, it is none of the debugger's.
      return run_debugger({.breakpoint = wanted_.contains(regs.rip)}, regs, *sregs, nullptr);
    }
    // What gdb calls returns to a breakpoint on the stack, where no guest can execute one.
    if (taken.vector == kind::page_fault && taken.cr2 == regs.rip && wanted_.contains(regs.rip))
      return run_debugger({.breakpoint = true}, regs, *sregs, nullptr);
    if (taken.vector == kind::debug && stepping_) {
      // One emulated host raises it before an instruction whose memory it had to find first.
      kvm_regs now = regs;
      now.rflags = stepped_from_.rflags;
      if (repeats_ != 0 && std::memcmp(&now, &stepped_from_, sizeof now) == 0) {
        --repeats_;
        back_to_user(taken.frame, *sregs);
        return {};
      }
      return run_debugger({}, regs, *sregs, nullptr);
    }
    return at_fault(why, regs, *sregs);
  }

  static bool is_repeatable(std::uint8_t vector) {
    using kind = x86::exception_vector;
    return vector != kind::debug && vector != kind::breakpoint && vector != kind::overflow;
  }

  result<void> at_fault(const error& why, const kvm_regs& regs, const kvm_sregs& sregs) {
    if (released_) return why;
    return run_debugger({.why = signal_of(why.fault.vector), .said = to_string(why) + '\n'}, regs,
                        sregs, &why);
  }

  static signal signal_of(std::uint8_t vector) {
    using kind = x86::exception_vector;
    switch (vector) {
      case kind::divide_error:
      case kind::x87_floating_point:
      case kind::simd_floating_point:
        return signal::arithmetic;
      case kind::debug:
      case kind::breakpoint:
        return signal::trap;
      case kind::invalid_opcode:
        return signal::illegal_instruction;
      case kind::alignment_check:
      case kind::stack_segment:
        return signal::bus;
      default:
        return signal::segmentation;
    }
  }

  /// Has the debugger look at a guest that stands still, and prepares what it then wants. Fails if
  /// the guest is not to go on; `fault` is what it is at, or null.
  result<void> run_debugger(const standstill& why, const kvm_regs& regs, const kvm_sregs& sregs,
                            const error* fault) {
    take_out_breakpoints();
    stepping_ = false;
    if (auto met = meet(); !met) return met;
    auto vectors = vcpu().get_xsave();
    if (!vectors) return vectors.error();
    registers_.load(regs, sregs, *vectors);
    const register_file before = registers_;
    auto ordered = server_->serve(*this, why, limits_);
    if (!ordered) return ordered.error();
    if (*ordered == order::kill) {
      return error{.code = errc::cancelled, .operation = "the debugger has ended the call"};
    }
    if (fault != nullptr && *ordered == order::fault) return *fault;
    if (*ordered == order::detach) {
      server_.reset();
      wanted_.clear();
      released_ = true;
    }
    // What KVM has of a guest that has used a port as it must not is no state to go on from.
    if (fault != nullptr && sregs.cs.dpl != 0) return *fault;
    if (registers_.has_other_vectors(before)) {
      registers_.store(*vectors);
      if (auto set = vcpu().set_xsave(*vectors); !set) return set;
    }
    go_on(regs, sregs, *ordered == order::step);
    return {};
  }

  void go_on(kvm_regs regs, kvm_sregs sregs, bool step) {
    registers_.store(regs, sregs);
    for (const std::uint64_t address : wanted_) put(address);
    std::uint64_t flags = regs.rflags;
    if (step) {
      stepping_ = true;
      stepped_from_ = regs;
      repeats_ = 4;
      const auto code = peek(regs.rip, 1);
      const std::size_t length = code.empty() ? 0 : stepped_over(code[0]);
      if (length == 0) {
        flags |= rflags_tf;
      } else {
        put(regs.rip + length);  // Not in the trampoline, whose `out` ends the call.
      }
    }
    vcpu().synced_regs() = regs;
    back_to_user({.rip = regs.rip, .rflags = flags, .rsp = regs.rsp}, sregs);
  }

  /// Returns the size of an instruction that cannot be stepped by TF: `out imm8`, because a guest
  /// that leaves with the flag set is taken for a hostile one, and `pushf`, which would store it.
  static std::size_t stepped_over(std::byte opcode) {
    switch (std::to_integer<unsigned>(opcode)) {
      case 0xe7:
        return 2;
      case 0x9c:
        return 1;
      default:
        return 0;
    }
  }

  /// Puts an INT3 at `address`, which take_out_breakpoints() removes. Returns whether there is one.
  bool put(std::uint64_t address) {
    if (original_.contains(address)) return true;
    const auto before = peek(address, 1);
    if (before.empty() || !poke(address, std::array{int3})) return false;
    original_.emplace(address, before[0]);
    return true;
  }

  /// One that the kernel does not let it take out stops the guest again.
  void take_out_breakpoints() {
    std::erase_if(original_, [this](const auto& each) {
      const auto& [address, before] = each;
      const auto now = peek(address, 1);
      // Where a guest can write, it may have put something else there.
      return now.empty() || now[0] != int3 || poke(address, std::array{before});
    });
  }

  [[nodiscard]] register_file& registers() override { return registers_; }

  [[nodiscard]] std::vector<std::byte> peek(std::uint64_t address, std::size_t most) override {
    std::vector<std::byte> found;
    while (found.size() < most) {
      const std::uint64_t at = address + found.size();
      const std::uint64_t size =
          std::min<std::uint64_t>(x86::page_size - at % x86::page_size, most - found.size());
      // The one page below the image that the guest can read, and returns to.
      if (at - x86::trampoline_page < x86::page_size) {
        found.insert(found.end(), host(at), host(at) + size);
        continue;
      }
      const auto part = read(guest_address{at}, size);
      if (!part) break;
      found.insert(found.end(), part->begin(), part->end());
    }
    return found;
  }

  /// Returns whether the guest can read that memory, and it is this machine's: what it is lent is
  /// the program's, and a debugger leaves it alone.
  bool is_own(std::uint64_t address, std::uint64_t size) {
    return user_memory().view(guest_address{address}, size) && read(guest_address{address}, size);
  }

  bool poke(std::uint64_t address, std::span<const std::byte> from) override {
    if (!is_own(address, from.size())) return false;
    if (from.empty()) return true;
    const std::uint64_t first = address & ~(x86::page_size - 1);
    const std::uint64_t last =
        std::min(virtine::detail::page_up(address + from.size()), where_.shared_end);
    // The mapping is private, so what is written there no other machine sees.
    const auto protect = [&](int protection) {
      return first >= last ||
             place_.protect(first - virtine::detail::layout::begin, last - first, protection);
    };
    if (!protect(PROT_READ | PROT_WRITE)) return false;
    std::memcpy(host(address), from.data(), from.size());
    // Should it fail the host alone can write there: guests are kept from it by KVM's slot, too.
    static_cast<void>(protect(PROT_READ));
    return true;
  }

  bool set_breakpoint(std::uint64_t address, bool on) override {
    if (on && !is_own(address, 1)) return false;
    if (on) wanted_.insert(address);
    if (!on) wanted_.erase(address);
    return true;
  }

  virtine::detail::run_limits limits_;
  attach when_ = attach::at_entry;
  std::function<result<listener>()> open_;
  std::optional<listener> listener_;  // While nobody has come.
  std::optional<server> server_;      // While somebody is there.
  register_file registers_;
  std::set<std::uint64_t> wanted_;               // The debugger's breakpoints.
  std::map<std::uint64_t, std::byte> original_;  // What is where an INT3 is now.
  kvm_regs stepped_from_{};
  int repeats_ = 0;         // How often a step that has changed nothing is made again.
  bool stepping_ = false;   // Whether the guest is to make one step.
  bool interrupt_ = false;  // Whether it is to stop as soon as it can.
  bool released_ = false;   // Whether a debugger was there and has let go.
};

}  // namespace virtine::gdb::detail
