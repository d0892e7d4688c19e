// Runs random sequences of instructions as guests, on machines that have run others, and demands
// that the host survives, that each ends as it can, that the next call finds nothing of it, and
// that it does the same again elsewhere. docs/fuzzing.md says what that means.
// SPDX-License-Identifier: MIT
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/machine/extended_state.hpp>
#include <virtine/virtine.hpp>

#include "../../host.hpp"
#include "../../kvm/differences.hpp"
#include "image.hpp"
#include "judge.hpp"
#include "processor_state.hpp"
#include "subject.hpp"

namespace guest_fuzz {
namespace {

using std::chrono::milliseconds;

struct options {
  std::uint64_t seed = 1;
  std::uint64_t first = 0;
  std::uint64_t count = 10'000;
  std::optional<std::uint64_t> only = std::nullopt;
  std::optional<std::uint64_t> after = std::nullopt;
  milliseconds timeout{is_emulated() ? 100 : 5};
};

// What runs, for a signal's handler.
std::array<char, 200> running_text{};
std::size_t running_size = 0;

void tell_and_die(int signal) {
  static_cast<void>(!::write(STDERR_FILENO, running_text.data(), running_size));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class fuzzer {
 public:
  fuzzer(std::string program, const options& chosen)
      : program_(std::move(program)), options_(chosen) {
    const auto cpu = detail::guest_cpu::shared();
    if (!cpu) throw virtine::failure(cpu.error());
    exit_ = virtine::x86::trampoline_page +
            virtine::x86::detail::trampoline.exits[static_cast<std::size_t>((*cpu)->wipe)];
    const auto system = virtine::kvm::system::shared();
    const auto state = detail::extended_state::of((*system)->supported_cpuid());
    for (const auto& each : state.places) places_.emplace_back(each.offset, each.size);
  }

  /// Returns whether nothing was found.
  bool run() {
    const std::uint64_t end = options_.first + options_.count;
    for (std::uint64_t number = options_.first / block::size; number * block::size < end;
         ++number) {
      run_block(number, end);
      if (violations_ >= most_violations) break;
    }
    print_counts();
    return violations_ == 0;
  }

  /// Runs one sequence on machines of its own, after another one if that is asked for, and prints
  /// how it ends.
  bool run_one(std::uint64_t index) {
    const block made(options_.seed, index / block::size, exit_);
    learn(made);
    current_ = index;
    std::printf("%s", disassembly(made, index).c_str());
    for (int round = 0; round < 3; ++round) {
      subject on(made, nullptr);
      if (options_.after) {
        static_cast<void>(take_turn(made, on, *options_.after % block::size, true));
        if (!on.has_machine()) std::printf("%llu ended its machine\n", number_of(*options_.after));
      }
      const auto ended = take_turn(made, on, index % block::size, true);
      std::printf("%s", text_of(ended).c_str());
      if (round > 0) compare_with(made, ended, endings_[0], "another machine");
      if (round == 0) endings_ = {ended};
    }
    return violations_ == 0;
  }

 private:
  static constexpr unsigned most_violations = 10;

  static unsigned long long number_of(std::uint64_t value) { return value; }

  // Whole blocks

  void run_block(std::uint64_t number, std::uint64_t end) {
    const block made(options_.seed, number, exit_);
    learn(made);
    const std::uint64_t base = number * block::size;
    const auto begin = static_cast<std::size_t>(std::max(options_.first, base) - base);
    const auto stop = static_cast<std::size_t>(std::min<std::uint64_t>(end - base, block::size));
    endings_.assign(block::size, {});

    // Once in this order on machines that have VMs of their own; then backwards on machines that
    // share VMs, where each finds the place and the processor of another.
    {
      subject forwards(made, nullptr);
      before_.reset();
      for (std::size_t i = begin; i < stop; ++i) {
        current_ = base + i;
        endings_[i] = take_turn(made, forwards, i, (i + number) % 2 == 0);
        before_ = current_;
        count(made.sequences[i], endings_[i]);
      }
      machines_ += forwards.made();
      not_entered_ += forwards.not_entered();
    }
    constexpr std::size_t machines_per_vm = 4;
    subject backwards(made, std::make_shared<detail::shared_vms>(machines_per_vm));
    before_.reset();
    for (std::size_t i = stop; i-- > begin;) {
      current_ = base + i;
      const ending again = take_turn(made, backwards, i, (i + number) % 2 != 0);
      if (!made.varies) {
        compare_with(made, again, endings_[i], "another machine");
      } else {
        ++not_compared_;
      }
      // Who comes into the place of one that has failed finds nothing there either.
      if (!backwards.has_machine()) check_clean(made, backwards);
      before_ = current_;
    }
    machines_ += backwards.made();
    not_entered_ += backwards.not_entered();
  }

  /// Remembers what a machine of this image is like that nothing has run on.
  void learn(const block& made) {
    auto first = std::make_unique<subject>(made, nullptr);
    subject& fresh = *first;
    fresh.make();
    if (!reader_) {
      reader_.emplace(fresh.machine().cpu(), places_);
      for (const std::uint32_t one : {1U, 2U, 4U}) {
        subject trial(made, nullptr);
        has_ |= one;
        if (!look(trial)) has_ &= ~one;
      }
      std::printf("guests have%s%s%s\n", (has_ & 1) != 0 ? " XSAVE" : "",
                  (has_ & 2) != 0 ? " FSGSBASE" : "", (has_ & 4) != 0 ? " protection keys" : "");
    }
    const auto memory = fresh.machine().memory();
    pristine_.assign(memory.begin(), memory.end());
    if (!look(fresh))
      throw virtine::failure(virtine::error{.operation = "a new machine does not run"});
    report_ = writable_of(made, fresh);
    state_ = reader_->all(fresh.machine().cpu());
    kept_ = std::move(first);
  }

  /// Runs sequence `i` and what comes after it. A machine that is to be used no more is gone then.
  ending take_turn(const block& made, subject& on, std::size_t i, bool looks) {
    announce();
    const sequence& of = made.sequences[i];
    ending ended = on.run(of, made.address(i), *reader_, pristine_, options_.timeout);
    if (ended.error.code == virtine::errc::cpu_limit && !of.endings.empty()) {
      // It has no loop: an emulated host was put off by its own.
      on.drop();
      ended = patiently(made, i);
      ++settled_;
    }
    judge_ending(made, of, ended);
    if (!ended.returned || !on.has_machine()) {
      on.drop();
      return ended;
    }
    on.restore(of.arguments);
    check_memory(made, on);
    if (looks) check_clean(made, on);
    return ended;
  }

  /// Runs sequence `i` alone, for as long as it takes.
  ending patiently(const block& made, std::size_t i) const {
    subject patient(made, nullptr);
    return patient.run(made.sequences[i], made.address(i), *reader_, pristine_,
                       100 * options_.timeout);
  }

  // What must hold

  void judge_ending(const block& made, const sequence& of, const ending& ended) {
    const evidence seen{
        .returned = ended.returned,
        .error = ended.error,
        .rip = ended.registers.rip,
        .rflags = ended.registers.rflags,
        .rdx = ended.registers.rdx,
        .has_own_code_segment = ended.segments[0] == virtine::x86::user_code_selector,
        // Sound: of the copy of the machine's memory, which begins there.
        .code = {reinterpret_cast<const std::uint8_t*>(pristine_.data()),
                 made.where.constants - detail::layout::begin},
        .code_begin = detail::layout::begin};
    std::string why = judge(seen, made.where);
    if (why.empty() && !of.endings.empty()) {
      ++foretold_;
      why = compare(seen, of.endings);
    }
    if (!why.empty()) violation(made, why + ", but ended by " + text_of(ended));
  }

  /// Compares all of a machine's memory with what it was at first.
  void check_memory(const block& made, subject& on) {
    open_machine& machine = on.machine();
    const auto memory = machine.memory();
    const auto compare_range = [&](std::uint64_t begin, std::uint64_t end) {
      const std::size_t at = begin - detail::layout::begin;
      if (std::memcmp(&memory[at], &pristine_[at], end - begin) == 0) return;
      for (std::uint64_t p = begin; p < end; p += page) {
        const std::size_t in = p - detail::layout::begin;
        const auto seen = memory.subspan(in, page);
        const auto expected = std::span<const std::byte>(pristine_).subspan(in, page);
        if (std::memcmp(seen.data(), expected.data(), page) == 0) continue;
        violation(made,
                  "memory is not as it was, at " + hex(p) + " + " + differences(seen, expected));
        return;
      }
    };
    compare_range(detail::layout::begin, made.where.guard);
    compare_range(made.where.stack, made.where.stack_end);
    check_tables(made, machine);
  }

  /// In the page tables nothing may change but what the processor notes, and that pages of the
  /// write set become writable.
  void check_tables(const block& made, open_machine& machine) {
    constexpr std::uint64_t present = 1;
    constexpr std::uint64_t writable = 2;
    constexpr std::uint64_t noted = 0x60;  // Accessed, dirty.
    std::size_t opened = 0;
    const auto word = [](std::span<const std::byte> in, std::size_t at) {
      std::uint64_t out = 0;
      std::memcpy(&out, in.data() + at, sizeof out);
      return out;
    };
    for (std::size_t at = made.where.page_tables - detail::layout::begin; at < pristine_.size();
         at += 8) {
      std::uint64_t seen = word(machine.memory(), at);
      const std::uint64_t expected = word(pristine_, at);
      if ((seen & present) != 0) seen -= machine.origin();
      const std::uint64_t changed = (seen ^ expected) & ~noted;
      if (changed == writable && (seen & writable) != 0) {
        ++opened;
      } else if (changed != 0) {
        violation(made, "an entry of the page tables has changed, at " +
                            hex(at + detail::layout::begin) + ": " + hex(seen) + ", not " +
                            hex(expected));
        return;
      }
    }
    constexpr std::size_t from_the_start = 2;
    if (opened + from_the_start != machine.write_set().size())
      violation(made, "there are " + std::to_string(opened + from_the_start) +
                          " pages to write, and " + std::to_string(machine.write_set().size()) +
                          " that are restored");
  }

  /// Calls a function that tells all that it finds, and compares that, all other memory and what
  /// KVM says with the same of a new machine.
  void check_clean(const block& made, subject& on) {
    ++looks_;
    if (auto looked = look(on); !looked) {
      violation(made, "the next call failed: " + to_string(looked.error()));
      on.drop();
      return;
    }
    const bytes seen = writable_of(made, on);
    if (seen != report_) violation(made, "the next call finds something: " + where_of(made, seen));
    const auto now = reader_->all(on.machine().cpu());
    for (const auto& [name, expected] : state_) {
      const auto found = now.find(name);
      if (found == now.end()) {
        violation(made, "KVM does not tell the " + name + " any more");
      } else if (found->second != expected) {
        violation(made, "the " + name + " are not those of a new machine after the same: " +
                            differences(found->second, expected));
      }
    }
    on.restore(sizeof has_);
    check_memory(made, on);
  }

  virtine::result<void> look(subject& on) {
    constexpr milliseconds long_enough{10'000};
    return on.run(
        guests::sequences::look::address, long_enough,
        [&](std::span<std::byte> arguments) { std::memcpy(arguments.data(), &has_, sizeof has_); });
  }

  /// Returns all that the guest may write, without what differs from time to time in the report.
  [[nodiscard]] bytes writable_of(const block& made, const subject& on) const {
    bytes out;
    on.for_each_writable([&](std::uint64_t at) {
      const auto content = on.page_at(at);
      out.insert(out.end(), content.begin(), content.end());
    });
    const std::size_t report = made.report() - made.where.data;
    const auto forget = [&](std::size_t at, std::size_t size) {
      std::memset(out.data() + report + at, 0, size);
    };
    forget(block::xsave + 512, 8);  // Which parts the processor takes for unused.
    // QEMU does not swap the x87 pointers between a host and its guests.
    if (emulated_host() == "svm") {
      forget(block::x87_environment + 12, 16);
      forget(block::fxsave + 6, 18);
      forget(block::xsave + 6, 18);
    }
    return out;
  }

  std::string where_of(const block& made, const bytes& seen) const {
    std::string out;
    for (std::size_t at = 0; at < seen.size(); at += 8) {
      if (std::memcmp(&seen[at], &report_[at], 8) == 0) continue;
      const std::size_t report = made.report() - made.where.data;
      out += at >= report && at < report + block::report_size ? "report + " + hex(at - report)
                                                              : "data + " + hex(at);
      return out + ": " +
             differences(std::span(seen).subspan(at, 8), std::span(report_).subspan(at, 8));
    }
    return out;
  }

  /// Compares how a sequence ended with how it ended elsewhere.
  void compare_with(const block& made, ending again, ending before, const char* where) {
    using virtine::errc;
    if ((again.error.code == errc::cpu_limit) != (before.error.code == errc::cpu_limit)) {
      // It may be just too long, or somebody else had the processor.
      ending& cut = again.error.code == errc::cpu_limit ? again : before;
      cut = patiently(made, current_ % block::size);
      ++settled_;
    }
    // With such a stack pointer one software KVM goes on in its emulator whenever it looks after
    // the guest's memory, and that lacks most instructions.
    if (is_astray(again) || is_astray(before)) {
      ++not_compared_;
      return;
    }
    std::string why = difference(again, before);
    if (why.empty()) return;
    why = "on " + std::string(where) + " it does something else: " + why;
    violation(made, why + "\n  once:  " + text_of(before) + "  again: " + text_of(again));
  }

  static bool is_astray(const ending& ended) {
    const auto top = static_cast<std::int64_t>(ended.registers.rsp) >> 47;
    return (top != 0 && top != -1) || !has_own_segments(ended);
  }
  static bool has_own_segments(const ending& ended) {
    return ended.segments[0] == virtine::x86::user_code_selector &&
           ended.segments[1] == virtine::x86::user_data_selector;
  }

  static std::string difference(const ending& a, const ending& b) {
    const virtine::fault& f = a.error.fault;
    const virtine::fault& g = b.error.fault;
    if (a.returned != b.returned || a.error.code != b.error.code) return "it ends otherwise";
    if (a.error.code == virtine::errc::cpu_limit) return "";
    if (f.kind != g.kind || f.vector != g.vector || f.access != g.access)
      return "the fault is another";
    if (f.address != g.address || f.instruction != g.instruction || f.error_code != g.error_code)
      return "the fault is elsewhere";
    if (a.error.detail != b.error.detail) return "the error has another number";
    if (std::memcmp(&a.registers, &b.registers, sizeof a.registers) != 0)
      return "general registers, at " + differences(bytes_of(a.registers), bytes_of(b.registers));
    if (a.segments != b.segments)
      return "segments, at " + differences(bytes_of(a.segments), bytes_of(b.segments));
    if (a.vectors != b.vectors)
      return "x87 or vector state, at " + differences(a.vectors, b.vectors);
    for (const auto& [at, content] : a.pages) {
      const auto found = b.pages.find(at);
      if (found == b.pages.end()) return "only once the page at " + hex(at) + " is changed";
      if (content != found->second)
        return "memory, at " + hex(at) + " + " + differences(content, found->second);
    }
    if (a.pages.size() != b.pages.size()) return "not the same pages are changed";
    return "";
  }

  // What is told

  void announce() {
    const int size = std::snprintf(running_text.data(), running_text.size(),
                                   "guest-fuzz: ended while --seed %llu --only %llu ran\n",
                                   number_of(options_.seed), number_of(current_));
    running_size = static_cast<std::size_t>(size);
    constexpr unsigned hangs_after = 1200;  // Who is nice may wait for long.
    ::alarm(hangs_after);
  }

  void violation(const block& made, const std::string& what) {
    ++violations_;
    std::printf("\nsequence %llu of seed %llu", number_of(current_), number_of(options_.seed));
    if (before_) std::printf(", after %llu", number_of(*before_));
    std::printf(": %s\n", what.c_str());
    std::printf("again: %s --seed %llu --only %llu", program_.c_str(), number_of(options_.seed),
                number_of(current_));
    if (before_) std::printf(" --after %llu", number_of(*before_));
    std::printf("\n");
    if (!options_.only) std::printf("%s", disassembly(made, current_).c_str());
    std::fflush(stdout);
  }

  static std::string hex(std::uint64_t value) {
    std::string out;
    virtine::detail::append_hex(out, value);
    return out;
  }

  static std::string text_of(const ending& ended) {
    std::string out = ended.returned ? "a return" : to_string(ended.error);
    if (!ended.returned && ended.error.code == virtine::errc::guest_fault)
      out += ", error code " + hex(ended.error.fault.error_code);
    std::array<char, 400> text{};
    const kvm_regs& r = ended.registers;
    std::snprintf(text.data(), text.size(),
                  "; rip %llx flags %llx rax %llx rbx %llx rcx %llx rdx %llx rsi %llx rdi %llx rbp "
                  "%llx rsp %llx\n",
                  r.rip, r.rflags, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp);
    return out + text.data();
  }

  /// By objdump, or as bytes where there is none.
  static std::string disassembly(const block& made, std::uint64_t index) {
    const auto& code = made.sequences[index % block::size].code;
    std::string name = "/tmp/guest-fuzz-XXXXXX";
    const virtine::os::fd file{::mkstemp(name.data())};
    std::string out;
    if (file &&
        ::write(file.get(), code.data(), code.size()) == static_cast<::ssize_t>(code.size())) {
      const std::string command = "objdump -D -b binary -m i386:x86-64 -M intel --adjust-vma=" +
                                  hex(made.address(index % block::size)) + " " + name +
                                  " 2>/dev/null | tail -n +8";
      if (std::FILE* const pipe = ::popen(command.c_str(), "r")) {
        std::array<char, 256> line{};
        while (std::fgets(line.data(), line.size(), pipe) != nullptr) out += line.data();
        ::pclose(pipe);
      }
    }
    ::unlink(name.c_str());
    if (!out.empty()) return out;
    for (const auto each : code) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += {digits[each >> 4], digits[each & 15], ' '};
    }
    return out + "\n";
  }

  void count(const sequence& of, const ending& ended) {
    ++ran_;
    if (!of.endings.empty()) ++with_endings_;
    if (ended.returned) {
      ++outcomes_["returned"];
    } else if (ended.error.code == virtine::errc::guest_fault) {
      ++outcomes_[name(ended.error.fault.kind)];
    } else {
      ++outcomes_[virtine::name(ended.error.code)];
    }
  }

  void print_counts() {
    std::printf("%llu sequences of seed %llu from %llu on, each twice: %u violations\n",
                number_of(ran_), number_of(options_.seed), number_of(options_.first), violations_);
    std::printf(
        "foretold %llu, looked %llu times, not compared %llu, settled %llu, machines %llu, not "
        "entered %llu\n",
        number_of(with_endings_), number_of(looks_), number_of(not_compared_), number_of(settled_),
        number_of(machines_), number_of(not_entered_));
    for (const auto& [name, count] : outcomes_)
      std::printf("  %-35s %10llu\n", name.c_str(), number_of(count));
  }

  const std::string program_;
  const options options_;
  std::uint64_t exit_ = 0;
  std::vector<std::pair<std::size_t, std::size_t>> places_;
  std::optional<processor_reader> reader_;
  std::uint32_t has_ = 0;  ///< What guests have, as sequences.asm numbers it.

  std::unique_ptr<subject>
      kept_;  ///< Spares others making a snapshot, and KVM its own first steps.

  // Of a new machine of the block: its memory, what it may write after look(), its processor then.
  bytes pristine_;
  bytes report_;
  std::map<std::string, bytes> state_;

  std::vector<ending> endings_;
  std::uint64_t current_ = 0;
  std::optional<std::uint64_t> before_;  ///< What ran before it on the machine, or in its place.

  unsigned violations_ = 0;
  std::uint64_t ran_ = 0;
  std::uint64_t with_endings_ = 0;
  std::uint64_t foretold_ = 0;
  std::uint64_t looks_ = 0;
  std::uint64_t not_compared_ = 0;
  std::uint64_t settled_ = 0;
  std::uint64_t machines_ = 0;
  std::uint64_t not_entered_ = 0;
  std::map<std::string, std::uint64_t> outcomes_;
};

std::optional<options> parse(std::span<char*> words) {
  options out;
  for (std::size_t i = 1; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return std::nullopt;
    const std::string_view name = words[i];
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(words[i + 1], &end, 0);
    if (*end != '\0' || end == words[i + 1]) return std::nullopt;
    if (name == "--seed") {
      out.seed = value;
    } else if (name == "--first") {
      out.first = value;
    } else if (name == "--count") {
      out.count = value;
    } else if (name == "--only") {
      out.only = value;
    } else if (name == "--after") {
      out.after = value;
    } else if (name == "--timeout") {
      out.timeout = milliseconds(value);
    } else {
      return std::nullopt;
    }
  }
  // They are of one image.
  if (out.only && out.after && *out.only / block::size != *out.after / block::size)
    return std::nullopt;
  return out;
}

}  // namespace
}  // namespace guest_fuzz

int main(int argc, char** argv) {
  using namespace guest_fuzz;
  const auto chosen = parse(std::span(argv, static_cast<std::size_t>(argc)));
  if (!chosen) {
    std::fprintf(stderr,
                 "usage: %s [--seed N] [--first N] [--count N] [--timeout MILLISECONDS]\n"
                 "       %s --seed N --only N [--after N]\n",
                 argv[0], argv[0]);
    return 2;
  }
  if (auto system = virtine::kvm::system::open(); !system) {
    std::printf("skipped: %s\n", virtine::to_string(system.error()).c_str());
    return 77;
  }
  // Some instructions tell on which processor they run.
  ::cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(::sched_getcpu()), &one);
  ::sched_setaffinity(0, sizeof one, &one);
  for (const int each : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM})
    std::signal(each, tell_and_die);
  try {
    fuzzer fuzz(argv[0], *chosen);
    return (chosen->only ? fuzz.run_one(*chosen->only) : fuzz.run()) ? 0 : 1;
  } catch (const virtine::failure& why) {
    std::fprintf(stderr, "%s\n", why.what());
    return 1;
  }
}
