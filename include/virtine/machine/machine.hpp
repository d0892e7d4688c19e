// A machine: VM, vCPU and memory of one user64 image, entered at CPL 3 and restored after a call.
// Knows nothing of argument types, policies or pools.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <virtine/guest_memory.hpp>
#include <virtine/kvm/exit.hpp>
#include <virtine/lent.hpp>
#include <virtine/machine/failed_entry.hpp>
#include <virtine/machine/fault_report.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/guest_cpu.hpp>
#include <virtine/machine/guest_exit.hpp>
#include <virtine/machine/image_snapshots.hpp>
#include <virtine/machine/lent_window.hpp>
#include <virtine/machine/machine_use.hpp>
#include <virtine/machine/runner.hpp>
#include <virtine/machine/snapshot.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/machine/vm_place.hpp>
#include <virtine/machine/write_set.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/os/probe.hpp>
#include <virtine/result.hpp>
#include <virtine/x86/trampoline.hpp>

namespace virtine::detail {

/// A machine of a user64 image. One thread at a time may use it. A call is: write to arguments(),
/// enter(), serve hypercalls and resume() until it is done, read the reply, restore(). Any error
/// poisons the machine: it refuses further calls and is to be destroyed.
class machine : public guest_access {
 public:
  /// Creates a machine of `image`, which must outlive it. About ten system calls, and those that
  /// make the image's snapshot (shared_snapshot) if no machine holds it, which `limits` bound. It
  /// has a VM of its own, or a place in one of `vms`, which are for machines of `image`.
  static result<std::unique_ptr<machine>> create(const image_description& image,
                                                 const run_limits& limits = {},
                                                 const std::shared_ptr<shared_vms>& vms = {}) {
    std::unique_ptr<machine> spent;
    auto from = shared_snapshot<machine>(image, limits, &spent);
    if (!from) return from.error();
    if (spent == nullptr || vms != nullptr) return create(*std::move(from), vms);
    return os::or_out_of_memory([&] { return make_of(std::move(spent), *std::move(from)); });
  }

  /// Creates a machine, or what is made of one, whose calls begin as `from` has it.
  template <std::derived_from<machine> Machine = machine>
  static result<std::unique_ptr<Machine>> create(std::shared_ptr<const snapshot> from,
                                                 const std::shared_ptr<shared_vms>& vms = {}) {
    return os::or_out_of_memory([&] { return make<Machine>(std::move(from), vms); });
  }

  ~machine() override {
    VIRTINE_PROBE(machine__destroyed, this, &from_->image());
    if (place_.is_shared() && !guest_runner().guard()->forked()) leave_place();
  }
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;

  /// Returns the memory for the call frame and what it refers to, all zeros after a restore().
  [[nodiscard]] std::span<std::byte> arguments() {
    return bytes(where_.arguments, from_->image().arguments_size);
  }
  [[nodiscard]] guest_address arguments_address() const { return guest_address{where_.arguments}; }

  /// Lends the next call `memory`, each at lent_window::address_of() its index. A call for which
  /// this was not said finds none. Costs nothing if the call before had the same.
  result<void> lend(std::span<const lent_memory* const> memory) {
    result<void> lent;
    if (window_ == nullptr && memory.empty()) return lent;
    if (window_ == nullptr) lent = make_window();
    if (lent) lent = window_->lend(place_.vm(), memory);
    if (!lent) poisoned_ = true;
    return lent;
  }

  /// Calls the function at guest address `function`, to be stopped when `limits` say.
  [[nodiscard]] result<guest_exit> enter(std::uint64_t function, const run_limits& limits) {
    if (poisoned_) [[unlikely]]
      return error{.code = errc::machine_failure, .operation = "a call that failed poisoned it"};
    if (window_ != nullptr) [[unlikely]] {
      auto emptied = window_->begin_call(place_.vm());
      poisoned_ = !emptied;
      if (!emptied) return emptied.error();
    }
    use_.count_call();
    VIRTINE_PROBE(call__begin, this, function);
    guest_runner().begin(limits);
    arrival_ = arrival::continued;
    const x86::call_record record{.function = function, .frame = where_.arguments};
    std::memcpy(host(where_.call_address()), &record, sizeof record);
    // The trampoline sets every register that a guest can change, from constants. Usually the guest
    // left by its `out` and goes on there; if not, the host takes it to the entry.
    if (!processor_->at_trampoline) [[unlikely]] {
      kvm_regs& regs = vcpu().synced_regs();
      regs = kvm_regs{};
      regs.rip = x86::trampoline_entry(cpu_.wipe);
      regs.rflags = x86::initial_rflags;
      regs.r15 = entry_mark();
      arrival_ = use_.calls() > 1 || place_.is_used() ? arrival::placed : arrival::first;
      vcpu().mark_dirty(KVM_SYNC_X86_REGS);
    }
    return run();
  }

  /// Goes on after a hypercall, or a system call that was answered.
  [[nodiscard]] result<guest_exit> resume() { return run(); }

  /// Ends a call that stopped at a hypercall or system call and is not to go on. Poisons the
  /// machine.
  void abandon() {
    if (guest_runner().running()) {
      static_cast<void>(end_run());
      VIRTINE_PROBE(call__end, this, -1);
    }
    poisoned_ = true;
  }

  [[nodiscard]] std::uint32_t hypercall_number() const {
    return static_cast<std::uint32_t>(vcpu().synced_regs().rax);
  }
  [[nodiscard]] guest_address hypercall_frame() const {
    return guest_address{vcpu().synced_regs().rdi};
  }

  /// Returns what the guest asks for at guest_exit::system_call.
  [[nodiscard]] detail::system_call system_call() const {
    const kvm_regs& regs = vcpu().synced_regs();
    return {.number = static_cast<std::uint32_t>(regs.rax),
            .arguments = {regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9}};
  }

  /// Answers the system call, as Linux does: a result, or a negative errno.
  void answer(std::int64_t value) {
    // RIP stays as the exit gave it, before or behind the `out`: KVM knows which, and goes on.
    vcpu().synced_regs().rax = static_cast<std::uint64_t>(value);
    vcpu().mark_dirty(KVM_SYNC_X86_REGS);
  }

  /// Returns what all machines of the image share; to hold it spares the next one making it.
  [[nodiscard]] std::shared_ptr<const void> shared_state() const {
    using state = std::pair<std::shared_ptr<const snapshot>, std::shared_ptr<watchdog>>;
    return std::make_shared<const state>(from_, guest_runner().guard());
  }

  /// Returns what runs the guest.
  [[nodiscard]] runner& guest_runner() { return processor_->run; }
  [[nodiscard]] const runner& guest_runner() const { return processor_->run; }

  /// Makes the second processor this thread's, and the processor if there is none yet. Two threads
  /// that take turns have one each, because kernels before 6.13 take ten milliseconds to run one on
  /// another thread than the last. Meanwhile another thread may use the machine.
  result<void> take_second() {
    if (!second_) {
      return os::or_out_of_memory([&]() -> result<void> {
        auto vcpu = place_.take_vcpu(1, cpu_);
        if (!vcpu) return vcpu.error();
        second_.emplace(*std::move(vcpu), first_.run.guard(), shared_part());
        start(*second_);
        return {};
      });
    }
    // Takes that time, and enters nothing.
    kvm::vcpu& cpu = second_->run.vcpu();
    cpu.request_immediate_exit(true);
    static_cast<void>(cpu.run());
    cpu.request_immediate_exit(false);
    return {};
  }
  [[nodiscard]] bool has_second() const { return second_.has_value(); }

  /// Has calls run on the second processor, or again on the first; while none runs.
  void use_second(bool second) { processor_ = second ? &*second_ : &first_; }

  /// Returns what runs the guest on the second processor, for another thread that is to move the
  /// deadline or interrupt.
  [[nodiscard]] runner& second_runner() { return second_->run; }

  [[nodiscard]] bool poisoned() const { return poisoned_; }
  [[nodiscard]] machine_use& use() { return use_; }

  /// Is told that the machine has more pages to restore than its pool keeps: the next one begins
  /// with none that it has not written itself.
  void outgrown() { from_->learned().clear(); }

  /// Returns the pages that a restore covers: all that can have been written.
  [[nodiscard]] std::span<const written_page> write_set() const { return write_set_.pages(); }

  /// Makes the memory what it was before the first call. `arguments_used` is how much of
  /// arguments() the host has written at most. Costs a copy, or zeroing, of each page in the write
  /// set.
  void restore(std::size_t arguments_used) {
    if (!taught_) [[unlikely]]
      teach();
    for (const written_page& page : write_set_.pages()) {
      if (page.was_zero) {
        std::memset(host(page.address), 0, x86::page_size);
      } else {
        std::memcpy(host(page.address), pristine(page.address), x86::page_size);
      }
    }
    // The first page of the arguments is in every write set.
    const std::size_t used = std::min<std::size_t>(arguments_used, arguments().size());
    if (used > x86::page_size) {
      std::memset(host(where_.arguments + x86::page_size), 0, used - x86::page_size);
    }
  }

  result<std::span<const std::byte>> read(guest_address address, std::uint64_t length) override {
    auto found = user_memory().view(address, length);
    if (!found && window_ != nullptr) {
      if (const auto lent = window_->view(address, length)) {
        guest_runner().count(&call_usage::bytes_out, length);
        return *lent;
      }
    }
    if (!found) return found.error();
    guest_runner().count(&call_usage::bytes_out, length);
    if (!where_.is_user(to_number(address), length)) {
      return error{.code = errc::out_of_range,
                   .operation = "read of unmapped guest memory",
                   .detail = to_number(address)};
    }
    return std::span<const std::byte>(*found);
  }

  result<void> write(guest_address address, std::span<const std::byte> from) override {
    auto to = user_memory().view(address, from.size());
    if (!to) return to.error();
    if (from.empty()) return {};
    guest_runner().count(&call_usage::bytes_in, from.size());
    const std::uint64_t first = to_number(address) & ~(x86::page_size - 1);
    const std::uint64_t last = to_number(address) + from.size() - 1;
    for (std::uint64_t page = first; page <= last; page += x86::page_size) {
      if (!add_to_write_set(page)) {
        return error{.code = errc::out_of_range,
                     .operation = "write to read-only guest memory",
                     .detail = to_number(address)};
      }
    }
    std::memcpy(to->data(), from.data(), from.size());
    return {};
  }

 protected:
  // Of these only a machine under a debugger makes use, which goes on where a call would be over.

  static constexpr std::uint64_t rflags_tf = 1U << 8;
  /// VIF and VIP, which one software KVM loads at an IRETQ, and no POPFQ takes back.
  static constexpr std::uint64_t rflags_virtual = 3U << 19;
  static constexpr std::uint64_t max_ahead = 32;  // Pages.

  machine(std::shared_ptr<const snapshot> from, const guest_cpu& cpu, vm_place place,
          kvm::vcpu vcpu, std::shared_ptr<watchdog> guard)
      : from_(std::move(from)),
        where_(from_->layout()),
        cpu_(cpu),
        place_(std::move(place)),
        memory_(place_.memory()),
        first_(std::move(vcpu), std::move(guard), shared_part()),
        write_set_(where_) {
    for (std::uint64_t page : snapshot::hot_pages(where_)) write_set_.add(page, pristine(page));
    sregs_ = cpu_.special_registers(x86::cpu_mode::user64);
    sregs_.cr3 = tables_address();
    sregs_.gdt = {.base = x86::gdt_address, .limit = x86::gdt_limit, .padding = {}};
    sregs_.idt = {.base = x86::idt_address, .limit = x86::idt_limit, .padding = {}};
    start(first_);
  }

  template <class Machine>
  static result<std::unique_ptr<Machine>> make(std::shared_ptr<const snapshot> from,
                                               const std::shared_ptr<shared_vms>& vms) {
    auto guard = watchdog::shared();
    if (!guard) return guard.error();
    auto cpu = guest_cpu::shared();
    if (!cpu) return cpu.error();
    if (from->image().thread_pointer != 0 && !(*cpu)->wrfsbase) return guest_cpu::no_wrfsbase();
    auto place = vms != nullptr ? vms->take(*from) : vm_place::alone(*from);
    if (!place) return place.error();
    auto vcpu = place->take_vcpu(0, **cpu);
    if (!vcpu) return vcpu.error();
    return finish<Machine>(std::move(from), **cpu, *std::move(place), *std::move(vcpu),
                           *std::move(guard));
  }

  /// Makes a machine in the VM of another of the same image, whose last call has succeeded. Spares
  /// making a VM and destroying one, which together take longer than most initialisers.
  static result<std::unique_ptr<machine>> make_of(std::unique_ptr<machine> spent,
                                                  std::shared_ptr<const snapshot> from) {
    const guest_cpu& cpu = spent->cpu_;
    auto guard = spent->guest_runner().guard();
    vm_place place = std::move(spent->place_);
    // The processor is as between two calls: the trampoline wipes it.
    kvm::vcpu vcpu = std::move(spent->vcpu());
    spent.reset();
    if (auto passed = place.pass_on(*from); !passed) return passed.error();
    return finish<machine>(std::move(from), cpu, std::move(place), std::move(vcpu),
                           std::move(guard));
  }

  template <class Machine>
  static std::unique_ptr<Machine> finish(std::shared_ptr<const snapshot> from, const guest_cpu& cpu,
                                         vm_place place, kvm::vcpu vcpu,
                                         std::shared_ptr<watchdog> guard) {
    std::unique_ptr<Machine> made(
        new Machine(std::move(from), cpu, std::move(place), std::move(vcpu), std::move(guard)));
    made->take_learned();
    VIRTINE_PROBE(machine__created, made.get(), &made->from_->image());
    return made;
  }

  /// A vCPU, and how the guest left it.
  struct processor {
    processor(kvm::vcpu vcpu, std::shared_ptr<watchdog> guard, const foothold& where)
        : run(std::move(vcpu), std::move(guard), where) {}
    runner run;
    bool at_trampoline = false;  ///< Whether the guest stopped at the trampoline's own `out`.
  };

  /// Gives a new processor what all calls on it begin with.
  void start(processor& made) {
    kvm::vcpu& cpu = made.run.vcpu();
    cpu.set_valid(KVM_SYNC_X86_REGS);
    cpu.synced_sregs() = sregs_;
    cpu.mark_dirty(KVM_SYNC_X86_SREGS);
  }

  [[nodiscard]] foothold shared_part() const {
    return {bytes(layout::begin, where_.shared_end - layout::begin), PROT_READ};
  }

  [[nodiscard]] kvm::vcpu& vcpu() { return guest_runner().vcpu(); }
  [[nodiscard]] const kvm::vcpu& vcpu() const { return guest_runner().vcpu(); }

  /// Gives the place its vCPUs back, for the next machine there.
  void leave_place() {
    const auto leave = [&](std::uint32_t number, runner& its) {
      if (its.running()) static_cast<void>(its.end());
      place_.keep_vcpu(number, std::move(its.vcpu()));
    };
    leave(0, first_.run);
    if (second_) leave(1, second_->run);
  }

  [[nodiscard]] std::byte* host(std::uint64_t address) const {
    return memory_.data() + (address - layout::begin);
  }
  [[nodiscard]] const std::byte* pristine(std::uint64_t address) const {
    return from_->pristine().data() + (address - layout::begin);
  }
  [[nodiscard]] std::span<std::byte> bytes(std::uint64_t address, std::uint64_t size) const {
    return {host(address), size};
  }
  [[nodiscard]] std::span<std::byte> tables() const {
    return bytes(where_.tables, where_.end - where_.tables);
  }
  /// Returns where the processor finds them.
  [[nodiscard]] std::uint64_t tables_address() const { return where_.tables + place_.origin(); }

  /// What the guest itself can read: not the descriptor tables, trap stack or page tables.
  [[nodiscard]] guest_memory user_memory() const {
    return {guest_address{x86::image_base},
            bytes(x86::image_base, where_.user_end - x86::image_base)};
  }

  /// Makes the page writable and remembers to restore it: a page is writable in the tables if and
  /// only if it is in the write set. Otherwise a call could leave something in a page that no
  /// restore would clean. Returns false if the guest may not write the page.
  bool add_to_write_set(std::uint64_t page) {
    const auto entry = x86::walk(tables(), tables_address(), page);
    if (!entry || !where_.is_writable(page)) return false;
    if (entry->writable) return true;
    write_set_.add(page, pristine(page));
    return x86::make_writable(tables(), tables_address(), page);
  }

  /// Makes writable what its siblings wrote in their first calls: a trap for each costs more than
  /// making the whole machine.
  void take_learned() {
    constexpr std::size_t worthwhile = 4 * x86::page_size;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    // KVM maps neighbours in one fault where the host has them already.
    const auto populate = [&] {
      if (end - begin >= worthwhile) place_.populate(begin - layout::begin, end - begin);
    };
    for (const std::uint64_t page : from_->learned().pages()) {
      if (!add_to_write_set(page)) continue;
      if (page != end) {
        populate();
        begin = page;
      }
      end = page + x86::page_size;
    }
    populate();
  }

  /// Tells the siblings what the first call has written.
  void teach() {
    taught_ = true;
    static_cast<void>(os::or_out_of_memory([&]() -> result<void> {
      std::vector<std::uint64_t> written;
      for (const written_page& page :
           write_set_.pages().subspan(snapshot::hot_pages(where_).size())) {
        if (!is_as_it_was(page.address)) written.push_back(page.address);
      }
      from_->learned().add(std::move(written));
      return {};
    }));
  }

  /// Adds the page of a first write and, if the guest goes through its memory page by page, as many
  /// of the pages ahead as it has gone through: a trap costs more than to restore hundreds of
  /// pages.
  bool add_around(std::uint64_t page) {
    const bool up = page == next_up_;
    const bool down = page == next_down_;
    ahead_ = up || down ? std::min<std::uint64_t>(ahead_ * 2, max_ahead) : 1;
    if (!add_to_write_set(page)) return false;
    std::uint64_t last = page;
    for (std::uint64_t more = 1; more < ahead_; ++more) {
      const std::uint64_t next = down ? last - x86::page_size : last + x86::page_size;
      if (!add_to_write_set(next)) break;
      last = next;
    }
    next_up_ = std::max(page, last) + x86::page_size;
    next_down_ = std::min(page, last) - x86::page_size;
    return true;
  }

  result<guest_exit> run() {
    for (;;) {
      if (auto ran = guest_runner().run(); !ran) [[unlikely]]
        return end(failed_run(ran.error()));
      const kvm_run& state = vcpu().state();
      if (state.exit_reason != KVM_EXIT_IO) [[unlikely]]
        return end(unexpected_exit());
      if (const auto vector = x86::trap_vector(state.io.port)) [[unlikely]] {
        if (auto handled = take_trap(*vector); !handled) return end(handled.error());
        arrival_ = arrival::over;
        continue;
      }
      arrival_ = arrival::over;
      const bool whole =
          state.io.direction == KVM_EXIT_IO_OUT && state.io.size == 4 && state.io.count == 1;
      // A trap flag that is set when the guest leaves would raise its exception in the next call.
      constexpr std::uint64_t stay = rflags_tf | rflags_virtual;
      if (!whole || (vcpu().synced_regs().rflags & stay) != 0) [[unlikely]]
        return end(protocol_violation());
      if (state.io.port == x86::done_port) [[likely]] {
        processor_->at_trampoline = x86::is_trampoline_exit(vcpu().synced_regs().rip, cpu_.wipe);
        return end(guest_exit::done);
      }
      const bool asks = state.io.port == x86::hypercall_port;
      if (!asks && state.io.port != x86::system_call_port) return end(protocol_violation());
      const guest_exit why = asks ? guest_exit::hypercall : guest_exit::system_call;
      // Whoever serves it may look at all of the guest's memory, unless the call was interrupted.
      return guest_runner().step_out() ? why : end(why);
    }
  }

  /// Ends the call with `outcome`, unless it was interrupted.
  result<guest_exit> end(result<guest_exit> outcome) {
    if (auto ended = end_run(); !ended) [[unlikely]]
      overtaken_ = std::exchange(outcome, ended.error());
    VIRTINE_PROBE(call__end, this, outcome ? 0 : static_cast<int>(outcome.error().code));
    if (!outcome) poisoned_ = true;
    return outcome;
  }

  result<void> end_run() {
    if (guest_runner().counts()) [[unlikely]] {
      const auto pages = write_set_.pages();
      const auto changed =
          std::count_if(pages.begin(), pages.end(),
                        [this](const written_page& page) { return !is_as_it_was(page.address); });
      guest_runner().count(&call_usage::pages_written, static_cast<std::uint64_t>(changed));
    }
    return guest_runner().end();
  }

  [[nodiscard]] bool is_as_it_was(std::uint64_t page) const {
    return std::memcmp(host(page), pristine(page), x86::page_size) == 0;
  }

  result<void> make_window() {
    if (!lent_window::fits(where_)) {
      return error{.code = errc::bad_argument,
                   .operation = "an image that ends beyond 4 GiB cannot be lent memory"};
    }
    if (place_.is_shared()) {
      return error{.code = errc::bad_argument,
                   .operation =
                       "a machine that shares its VM cannot be lent memory; set "
                       "pool_options::machines_per_vm to 1"};
    }
    auto made = lent_window::create(place_.vm(), tables(), where_.tables);
    if (!made) return made.error();
    window_ = *std::move(made);
    return {};
  }

  /// KVM finds no memory where a lent file has lost it; the host itself gets no signal of that.
  [[nodiscard]] error failed_run(const error& why) const {
    if (why.os_error != EFAULT || window_ == nullptr || !window_->has_file()) return why;
    return {.code = errc::os_error,
            .os_error = EFAULT,
            .operation = "a lent file cannot be read: it became shorter, or its storage failed"};
  }

  [[nodiscard]] error unexpected_exit() {
    const kvm::exit why = vcpu().last_exit();
    return {.code = errc::machine_failure, .operation = name(why), .detail = detail_of(why)};
  }

  [[nodiscard]] error protocol_violation() const { return port_misuse(vcpu().synced_regs().rip); }

  /// Returns the trap whose stub has just made the exit; `sregs` are the vCPU's.
  [[nodiscard]] trap last_trap(std::uint8_t vector, const kvm_sregs& sregs) const {
    const auto stack = bytes(where_.trap_stack_top() - x86::trap_frame_size, x86::trap_frame_size);
    return {.vector = vector,
            .frame = x86::decode_trap_frame(stack.first<x86::trap_frame_size>(), vector),
            .cr2 = sregs.cr2,
            .rcx = vcpu().synced_regs().rcx};
  }

  /// Handles an exception: a first write to a page goes on, anything else ends the call.
  result<void> take_trap(std::uint8_t vector) {
    guest_runner().count(&call_usage::traps, 1);
    auto sregs = vcpu().get_sregs();
    if (!sregs) return sregs.error();
    // Only the stubs run at CPL 0. A guest that could write to a trap port itself could forge this.
    if (sregs->cs.dpl != 0) return protocol_violation();
    const trap taken = last_trap(vector, *sregs);
    if (!is_first_write(taken, where_) || !add_around(taken.cr2 & ~(x86::page_size - 1))) {
      static_cast<void>(guest_runner().step_out());  // The report shows what the code says.
      error why = report(taken, from_->image(), where_, user_memory());
      VIRTINE_PROBE(fault, this, taken.frame.rip);
      // Hosts that run guests on more processor state than they admit to let a guest leave some,
      // a code segment or protection keys, that even the trampoline trips over.
      if (arrival_ != arrival::over && x86::in_trampoline(taken.frame.rip)) {
        why.code = cause_of(arrival_, is_marked(vcpu().synced_regs().r15));
        if (why.code == not_entered && use_.calls() == 1) place_.report_remains();
      }
      return why;
    }
    back_to_user(taken.frame, *sregs);
    return {};
  }

  /// Has the guest go on at CPL 3 where `frame` says, with the data segments and bases that it
  /// `had`. The rest comes from constants: what KVM reports is not always what it was given.
  void back_to_user(const x86::trap_frame& frame, const kvm_sregs& had) {
    vcpu().synced_sregs() = with_data_segments(sregs_, had);
    kvm_regs& regs = vcpu().synced_regs();
    regs.rip = frame.rip;
    regs.rsp = frame.rsp;
    regs.rflags = x86::resume_rflags(frame);
    vcpu().mark_dirty(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
  }

  std::shared_ptr<const snapshot> from_;
  const layout& where_;
  const guest_cpu& cpu_;
  kvm_sregs sregs_{};
  std::unique_ptr<lent_window> window_;  // Made when it is needed; before the place, whose VM it
  vm_place place_;                       // must outlive.
  std::span<std::byte> memory_;          // That of the place.
  processor first_;
  std::optional<processor> second_;
  processor* processor_ = &first_;  // On which calls run.
  detail::write_set write_set_;
  std::uint64_t ahead_ = 1;      // How many pages the last first write added.
  std::uint64_t next_up_ = 0;    // The page above those,
  std::uint64_t next_down_ = 0;  // and the one below.
  machine_use use_;
  bool taught_ = false;              // Whether its siblings know of its first call.
  arrival arrival_ = arrival::over;  // Of this call.
  bool poisoned_ = false;
  result<guest_exit> overtaken_{
      guest_exit::done};  // What the call that was last interrupted had come to.
};

}  // namespace virtine::detail
