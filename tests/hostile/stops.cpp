// Attacks on the stopping of calls: programs that take every signal away or send them all the time,
// guests that are stopped in the middle of anything, hosts that look at memory meanwhile.
// SPDX-License-Identifier: MIT
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <virtine/bare_machine.hpp>
#include <virtine/gdb.hpp>

#include "hostile.hpp"
#include "in_child.hpp"

using namespace hostile;
using namespace std::chrono_literals;
using virtine::errc;

namespace {

using attack_fn = virtine::virtine_fn<word(word, word, word, word), image::attack>;
using job = std::tuple<word, word, word, word>;

// The attacking image with an initialiser that never ends.
const virtine::image_description& endless() {
  static const virtine::image_description made = [] {
    virtine::image_description of = image::description;
    of.init = address_of("loop_forever");
    return of;
  }();
  return made;
}

// Requests a stop a little later.
class stops_soon {
 public:
  std::stop_token token() { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread thread_{[this] {
    std::this_thread::sleep_for(5ms);
    source_.request_stop();
  }};
};

template <class T>
bool failed_by(const virtine::result<T>& ended, errc why) {
  return !ended && ended.error().code == why;
}

// Has a call of every form not end by itself. Returns 0, or the number of the first that did not
// come to the right end.
int every_form_stops() {
  arena a;
  attack_fn fn(a.pool);
  const word loop = address_of("loop_forever");
  const std::vector<job> jobs{{loop, 0, 0, 0}};
  const virtine::call_options soon{.timeout = 20ms};
  if (!failed_by(fn.with(soon).try_call(loop, 0, 0, 0), errc::timed_out)) return 1;
  if (!failed_by(fn.with(soon).each(jobs).at(0), errc::timed_out)) return 2;
  if (!failed_by(fn.with(soon).together(jobs), errc::timed_out)) return 3;
  {
    virtine::session stays(fn);
    if (!failed_by(stays.with(soon).try_call(loop, 0, 0, 0), errc::timed_out)) return 4;
  }
  if (!failed_by(fn.with(soon).async(loop, 0, 0, 0).try_get(), errc::timed_out)) return 5;
  const auto base = virtine::detail::snapshot::create(image::description);
  const auto begun = virtine::detail::snapshot::create(endless());
  if (!base || !begun) return 6;
  if (!failed_by(virtine::detail::run_initialiser<virtine::detail::machine>(
                     *begun, {.until = virtine::detail::deadline_after(20ms)}),
                 errc::timed_out)) {
    return 7;
  }
  auto bare = virtine::bare_machine::create({.memory = 64 * 1024});
  if (!bare) return 8;
  constexpr std::array turns{std::byte{0xeb}, std::byte{0xfe}};
  if (!(*bare)->load(virtine::guest_address{0}, turns)) return 9;
  if (!failed_by((*bare)->run(20ms), errc::timed_out)) return 10;
  {
    // Longer than the debugger's glances, of which each stops the guest.
    const auto debugged = virtine::gdb::debug(
        fn, {.when = virtine::gdb::attach::at_fault, .limits = {.timeout = 160ms}});
    if (!failed_by(debugged.try_call(loop, 0, 0, 0), errc::timed_out)) return 11;
  }

  const auto stopped = [&](const auto& call) {
    stops_soon later;
    return failed_by(call(virtine::call_options{.timeout = 1h, .stop = later.token()}),
                     errc::cancelled);
  };
  if (!stopped([&](const auto& how) { return fn.with(how).try_call(loop, 0, 0, 0); })) return 21;
  if (!stopped([&](const auto& how) { return fn.with(how).each(jobs).at(0); })) return 22;
  if (!stopped([&](const auto& how) { return fn.with(how).together(jobs); })) return 23;
  if (!stopped([&](const auto& how) {
        virtine::session stays(fn);
        return stays.with(how).try_call(loop, 0, 0, 0);
      })) {
    return 24;
  }
  if (!stopped([&](const auto& how) { return fn.with(how).async(loop, 0, 0, 0).try_get(); }))
    return 25;
  {
    auto pending = fn.with({.timeout = 1h}).async(loop, 0, 0, 0);
    std::this_thread::sleep_for(5ms);
    pending.cancel();
    if (!failed_by(pending.try_get(), errc::cancelled)) return 26;
  }
  if (!stopped([&](const auto& how) {
        return virtine::gdb::debug(fn, {.when = virtine::gdb::attach::at_fault, .limits = how})
            .try_call(loop, 0, 0, 0);
      })) {
    return 27;
  }
  // And what ends by itself does.
  virtine::virtine_fn<word(word, word), image::good> good(a.pool);
  const auto product = good.try_call(6, 7);
  return product && *product == 42 ? 0 : 30;
}

// Takes signals away from the process, after it has made its first call.
enum class without { nothing, room, queue, mask, defaults, ignored, permission };

void act_on_all(void (*how)(int)) {
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) ::signal(number, how);
  for (const int number : {SIGURG, SIGUSR1, SIGUSR2, SIGIO, SIGWINCH, SIGCHLD, SIGALRM})
    ::signal(number, how);
}

bool deny_sending() {
  std::vector<sock_filter> code;
  const auto load = static_cast<std::uint32_t>(offsetof(seccomp_data, nr));
  code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, load));
  for (const int number : {SYS_tgkill, SYS_tkill, SYS_kill, SYS_rt_sigqueueinfo,
                           SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal}) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  // Sound: the kernel copies the program. On all threads, the library's too.
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

bool take_away(without what) {
  const auto block_all = [] {
    sigset_t all;
    sigfillset(&all);
    return ::pthread_sigmask(SIG_BLOCK, &all, nullptr) == 0;
  };
  switch (what) {
    case without::nothing:
      return true;
    case without::room: {
      const rlimit none{0, 0};
      return ::setrlimit(RLIMIT_SIGPENDING, &none) == 0;
    }
    case without::queue: {
      const rlimit few{16, 16};
      if (!block_all() || ::setrlimit(RLIMIT_SIGPENDING, &few) != 0) return false;
      // To this thread itself, until there is no room. The privileged have none beyond either.
      for (int i = 0; i < 100'000; ++i) {
        if (::sigqueue(::getpid(), SIGRTMIN + 1, sigval{}) != 0) return errno == EAGAIN;
      }
      return false;
    }
    case without::mask: {
      if (!block_all()) return false;
      sigset_t all;
      sigfillset(&all);
      return ::signalfd(-1, &all, SFD_CLOEXEC) >= 0;
    }
    case without::defaults:
      act_on_all(SIG_DFL);
      return true;
    case without::ignored:
      act_on_all(SIG_IGN);
      return true;
    case without::permission:
      return deny_sending();
  }
  return false;
}

// Has one thread be in the middle of stopping a call: in its mprotect, which the kernel holds up
// until held_up::go_on().
class held_up {
 public:
  explicit held_up(std::function<void()> stop)
      : stop_(std::move(stop)), thread_([this] { run(); }) {
    while (!ready_) std::this_thread::yield();
  }
  ~held_up() { thread_.join(); }
  held_up(const held_up&) = delete;
  held_up& operator=(const held_up&) = delete;

  // Returns whether the thread has begun to stop the call.
  bool begin() {
    if (listener_ < 0) return false;
    begun_ = true;
    // Sound: the kernel writes one notification, into zeros as it demands.
    return ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &asked_) == 0;
  }
  void go_on() {
    seccomp_notif_resp answer{};
    answer.id = asked_.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    // Sound: the kernel reads one answer.
    ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    ::close(listener_);
  }

 private:
  void run() {
    std::array code{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                             static_cast<std::uint32_t>(offsetof(seccomp_data, nr))),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    // Sound: the kernel copies the program, which is for this thread only.
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
      listener_ = static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                             SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
    }
    ready_ = true;
    while (!begun_ && listener_ >= 0) std::this_thread::yield();
    stop_();
  }

  const std::function<void()> stop_;
  std::atomic<bool> ready_ = false;
  std::atomic<bool> begun_ = false;
  std::atomic<int> listener_ = -1;
  seccomp_notif asked_{};
  std::thread thread_;  // Last: it uses the rest.
};

}  // namespace

// ThreadSanitizer does not follow threads into a child.
#ifndef __SANITIZE_THREAD__
TEST_CASE("H90: calls are stopped whatever a program does to its signals", "[hostile]") {
  const auto what = GENERATE(without::nothing, without::room, without::queue, without::mask,
                             without::defaults, without::ignored, without::permission);
  INFO("without " << static_cast<int>(what));
  CHECK(in_child([&] {
          {
            arena first;
            if (!first.run("read", constants)) return 100;
            if (!take_away(what)) return 101;
            // A machine that was made before, too.
            if (!failed_by(first.run("loop_forever", 0, 0, 0, {.timeout = 20ms}), errc::timed_out))
              return 102;
          }
          return every_form_stops();
        }) == 0);
}
#endif

TEST_CASE("H91: a storm of signals at the caller ends no call and keeps none from its end",
          "[hostile]") {
  struct sigaction seen_it {};
  struct sigaction before {};
  static std::atomic<int> seen;
  seen = 0;
  seen_it.sa_handler = [](int) { seen.fetch_add(1); };
  // Sound: the handler only counts, in a lock-free atomic.
  REQUIRE(::sigaction(SIGUSR1, &seen_it, &before) == 0);
  {
    arena a;
    const pthread_t caller = ::pthread_self();
    std::jthread storm([caller](const std::stop_token& over) {
      while (!over.stop_requested()) {
        ::pthread_kill(caller, SIGUSR1);
        std::this_thread::sleep_for(50us);
      }
    });
    const int rounds = is_emulated() ? 5 : 200;
    for (int i = 0; i < rounds || seen < 10; ++i) a.expect_good();
    CHECK(every_form_stops() == 0);
  }
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("H92: guests are stopped in the middle of anything", "[hostile]") {
  arena a;
  for (const char* name : {"loop_forever", "cpuid_forever", "flood", "scribble_forever"}) {
    for (int round = 0; round < 10; ++round) {
      INFO(name << " " << round);
      const auto ended =
          a.run(name, data, 0, 0, {.timeout = std::chrono::microseconds(100 + 371 * round)});
      REQUIRE_FALSE(ended);
      // Where nobody answers, a hypercall is its own end.
      if (std::string_view(name) != "flood") CHECK(ended.error().code == errc::timed_out);
    }
  }
  a.expect_good();
}

TEST_CASE("H93: bare guests are stopped in the middle of anything", "[hostile]") {
  using code = std::vector<unsigned char>;
  struct attack {
    const char* name;
    virtine::x86::cpu_mode mode;
    code bytes;
  };
  using mode = virtine::x86::cpu_mode;
  const std::vector<attack> attacks{
      {"jmp", mode::long64, {0xeb, 0xfe}},
      {"pause", mode::long64, {0xf3, 0x90, 0xeb, 0xfc}},
      {"load", mode::long64, {0x48, 0x8b, 0x04, 0x25, 0, 0x20, 0, 0, 0xeb, 0xf6}},
      {"store", mode::long64, {0x48, 0x89, 0x04, 0x25, 0, 0x20, 0, 0, 0xeb, 0xf6}},
      {"cpuid", mode::long64, {0x0f, 0xa2, 0xeb, 0xfc}},
      {"rep stosb",
       mode::long64,
       {0xbf, 0, 0x80, 0, 0, 0xb9, 0, 0x40, 0, 0, 0xf3, 0xaa, 0xeb, 0xf2}},
      {"mov cr3", mode::long64, {0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xeb, 0xf8}},
      {"invlpg", mode::long64, {0x0f, 0x01, 0x38, 0xeb, 0xfb}},
      {"jmp", mode::protected32, {0xeb, 0xfe}},
      {"store", mode::protected32, {0xa3, 0, 0x20, 0, 0, 0xeb, 0xf9}},
      {"jmp", mode::real16, {0xeb, 0xfe}},
      {"store", mode::real16, {0xa3, 0, 0x20, 0xeb, 0xfb}},
      // lidt [0x200]; then int3 for ever, whose handler at 0x100 is an iret; see below.
      {"interrupts", mode::real16, {0x0f, 0x01, 0x1e, 0x00, 0x02, 0xcc, 0xeb, 0xfd}},
  };
  for (const attack& each : attacks) {
    INFO(each.name << ", mode " << static_cast<int>(each.mode));
    auto made = virtine::bare_machine::create({.mode = each.mode, .memory = 64 * 1024});
    REQUIRE(made);
    virtine::bare_machine& guest = **made;
    constexpr std::uint64_t start = 0x3000;
    REQUIRE(guest.load(virtine::guest_address{start}, std::as_bytes(std::span(each.bytes))));
    if (each.mode == mode::real16) {
      constexpr std::array<unsigned char, 4> handler{0x00, 0x01, 0, 0};
      constexpr std::array<unsigned char, 1> iret{0xcf};
      constexpr std::array<unsigned char, 6> table{0xff, 0x03, 0, 0, 0, 0};
      REQUIRE(guest.load(virtine::guest_address{12}, std::as_bytes(std::span(handler))));
      REQUIRE(guest.load(virtine::guest_address{0x100}, std::as_bytes(std::span(iret))));
      REQUIRE(guest.load(virtine::guest_address{0x200}, std::as_bytes(std::span(table))));
    }
    for (int round = 0; round < 4; ++round) {
      kvm_regs regs{};
      regs.rip = start;
      regs.rsp = 0x2f00;
      regs.rflags = 0x202;  // Interrupts on, without which one emulator never leaves the guest.
      REQUIRE(guest.set_registers(regs));
      const auto ended = guest.run(std::chrono::microseconds(300 + 1700 * round));
      REQUIRE_FALSE(ended);
      CHECK(ended.error().code == errc::timed_out);
      // All of its memory is the host's again, and a reset makes it as it was.
      const auto memory = guest.memory().view(virtine::guest_address{0}, 64 * 1024);
      REQUIRE(memory);
      std::memset(memory->data() + 0x2000, round, 16);
      REQUIRE(guest.reset());
      const auto again = guest.memory().view(virtine::guest_address{start}, each.bytes.size());
      REQUIRE(again);
      CHECK(std::memcmp(again->data(), each.bytes.data(), each.bytes.size()) == 0);
    }
  }
}

TEST_CASE("H94: a host that reads a guest's memory while a call is stopped keeps running",
          "[hostile][long]") {
  const auto base = virtine::detail::snapshot::create(image::description).value();
  const int rounds = is_emulated() ? 10 : 150;
  int at_hypercall = 0;
  for (int i = 0; i < rounds; ++i) {
    auto guest = virtine::detail::machine::create(base).value();
    // The attack's frame: the function, and where it lies what it is told.
    std::stop_source source;
    std::jthread other([&, i] {
      std::this_thread::sleep_for(std::chrono::microseconds(7 * i));
      source.request_stop();
    });
    auto stopped = guest->enter(address_of("flood"), {.stop = source.get_token()});
    while (stopped && *stopped == virtine::detail::guest_exit::hypercall) {
      ++at_hypercall;
      // What a handler may look at: each byte of code and constants.
      const auto seen_code = guest->read(virtine::guest_address{code}, 4096);
      REQUIRE(seen_code);
      unsigned sum = 0;
      for (const std::byte each : *seen_code) sum += std::to_integer<unsigned>(each);
      REQUIRE(sum != 0);
      stopped = guest->resume();
    }
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().code == errc::cancelled);
    CHECK(guest->read(virtine::guest_address{code}, 4096).value()[0] ==
          static_cast<std::byte>(image::description.segments[0].content[0]));
  }
  CHECK(at_hypercall > 0);
}

TEST_CASE("H98: a host that reads a bare guest's memory while a call is stopped keeps running",
          "[hostile][long]") {
  // mov eax, 1; out 0xe4, eax; jmp
  static constexpr std::string_view asks{"\xb8\x01\0\0\0\xe7\xe4\xeb\xf7", 9};
  static_assert(virtine::x86::hypercall_port == 0xe4);
  const std::array segments{virtine::segment{.address = virtine::bare_machine::load_address,
                                             .memory_size = 4096,
                                             .content = asks,
                                             .writable = true,
                                             .executable = true}};
  const virtine::image_description bare{.name = "asks",
                                        .mode = virtine::x86::cpu_mode::long64,
                                        .segments = segments,
                                        .arguments_size = 4096,
                                        .memory_size = 64 * 1024};
  const int rounds = is_emulated() ? 10 : 150;
  int at_hypercall = 0;
  for (int i = 0; i < rounds; ++i) {
    auto guest = virtine::bare_machine::create(bare).value();
    std::stop_source source;
    std::jthread other([&, i] {
      std::this_thread::sleep_for(std::chrono::microseconds(7 * i));
      source.request_stop();
    });
    auto stopped = guest->enter(virtine::bare_machine::load_address, {.stop = source.get_token()});
    while (stopped && *stopped == virtine::detail::guest_exit::hypercall) {
      ++at_hypercall;
      guest->arguments()[0] = std::byte{1};
      stopped = guest->resume();
    }
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().code == errc::cancelled);
    guest->arguments()[0] = std::byte{2};
  }
  CHECK(at_hypercall > 0);
}

TEST_CASE("H95: a host that reports a guest's fault while the call is stopped keeps running",
          "[hostile][long]") {
  const auto base = virtine::detail::snapshot::create(image::description).value();
  const int rounds = is_emulated() ? 20 : 600;
  int faulted = 0;
  double delay = 100'000;
  for (int i = 0; i < rounds; ++i) {
    auto guest = virtine::detail::machine::create(base).value();
    std::stop_source source;
    std::atomic<bool> begun = false;
    std::jthread other([&] {
      while (!begun) {
      }
      for (double spin = delay; spin > 0; --spin)
        std::atomic_signal_fence(std::memory_order_seq_cst);
      source.request_stop();
    });
    begun = true;
    // The report of this fault tells what the instruction was.
    const auto ended = guest->enter(address_of("undefined"), {.stop = source.get_token()});
    other.join();
    REQUIRE_FALSE(ended);
    const bool late = ended.error().code == errc::guest_fault;
    CHECK((late || ended.error().code == errc::cancelled));
    // Stays about the moment at which the guest faults.
    delay *= late ? 0.95 : 1.05;
    faulted += late ? 1 : 0;
  }
  // On an emulated host there are too few rounds to come near that moment.
  if (is_emulated()) return;
  CHECK(faulted > 0);
  CHECK(faulted < rounds);
}

namespace {

volatile std::sig_atomic_t cancel_requested = 0;

// As databases and interpreters have it.
void request_cancel(int) {
  cancel_requested = 1;
  virtine::ask_stop_if();
}
bool is_cancel_requested() {
  return cancel_requested != 0;
}

// Has SIGUSR2 request it, as long as one exists.
class cancels_by_signal {
 public:
  cancels_by_signal() {
    struct sigaction action {};
    action.sa_handler = request_cancel;
    // Sound: the handler makes one store and calls what is made for it.
    REQUIRE(::sigaction(SIGUSR2, &action, &before_) == 0);
    cancel_requested = 0;
  }
  ~cancels_by_signal() { ::sigaction(SIGUSR2, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

}  // namespace

#ifndef __SANITIZE_THREAD__
TEST_CASE("H125: a child of fork waits for nobody who was stopping its parent's call",
          "[hostile]") {
  // Returns the child's number, or 0 in the child, which is ended if it waits.
  static const auto fork_while = [](held_up& stopper) -> pid_t {
    if (!stopper.begin()) return -1;
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(60);
    } else {
      stopper.go_on();
    }
    return child;
  };
  const auto expect_end = [](pid_t child) {
    REQUIRE(child > 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  };

  SECTION("where the call is asked whether it is over") {
    static held_up* stopper;
    static pid_t child;
    child = -1;
    std::stop_source source;
    held_up other([&] { source.request_stop(); });
    stopper = &other;
    const auto base = virtine::detail::snapshot::create(image::description).value();
    auto guest = virtine::detail::machine::create(base).value();
    const auto ended =
        guest->enter(address_of("loop_forever"), {.stop = source.get_token(), .stop_if = [] {
                                                    if (child < 0) child = fork_while(*stopper);
                                                    return false;
                                                  }});
    if (child == 0) {
      const bool refused = !ended && ended.error().os_error == EIO;
      guest.reset();
      ::_exit(refused ? 0 : 1);
    }
    expect_end(child);
    CHECK(failed_by(ended, errc::cancelled));
  }
  SECTION("anywhere else, in a handler of a signal") {
    auto memory = virtine::os::mapping::guarded(4096).value();
    const auto* const system = virtine::kvm::system::shared().value();
    auto vm = system->create_vm().value();
    virtine::detail::runner call(vm.create_vcpu(0, system->vcpu_mmap_size()).value(),
                                 virtine::detail::watchdog::shared().value(),
                                 {.memory = memory.bytes()});
    std::stop_source source;
    held_up other([&] { source.request_stop(); });
    call.begin({.stop = source.get_token()});
    const pid_t child = fork_while(other);
    if (child == 0) {
      const bool went_on = call.step_out();
      memory.bytes()[0] = std::byte{1};
      ::_exit(went_on && call.end() ? 0 : 1);
    }
    expect_end(child);
    CHECK(failed_by(call.end(), errc::cancelled));
    memory.bytes()[0] = std::byte{1};
  }
}
#endif

TEST_CASE("H96: one signal is enough for a program that learns of it by a flag, at any moment",
          "[hostile][long]") {
  const cancels_by_signal handled;
  arena a;
  attack_fn fn(a.pool);
  const word loop = address_of("loop_forever");
  const virtine::call_options how{.timeout = 1h, .stop_if = is_cancel_requested};
  const std::vector<job> jobs{{loop, 0, 0, 0}};
  const std::vector<std::function<bool()>> forms{
      [&] { return failed_by(fn.with(how).try_call(loop, 0, 0, 0), errc::cancelled); },
      [&] { return failed_by(fn.with(how).each(jobs).at(0), errc::cancelled); },
      [&] { return failed_by(fn.with(how).together(jobs), errc::cancelled); },
      [&] {
        virtine::session stays(fn);
        return failed_by(stays.with(how).try_call(loop, 0, 0, 0), errc::cancelled);
      },
      [&] {
        return failed_by(
            virtine::gdb::debug(fn, {.when = virtine::gdb::attach::at_fault, .limits = how})
                .try_call(loop, 0, 0, 0),
            errc::cancelled);
      },
  };
  const pthread_t caller = ::pthread_self();
  const int rounds = is_emulated() ? 10 : 250;
  for (int i = 0; i < rounds; ++i) {
    INFO("round " << i);
    cancel_requested = 0;
    std::atomic<bool> begun = false;
    std::jthread sender([&, i] {
      while (!begun) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::microseconds(13 * (i % 50)));
      ::pthread_kill(caller, SIGUSR2);
    });
    begun = true;
    REQUIRE(forms[static_cast<std::size_t>(i) % forms.size()]());
  }
  cancel_requested = 0;
  a.expect_good();
}

TEST_CASE("H97: a flag that is set while a handler runs ends the call behind it", "[hostile]") {
  const cancels_by_signal handled;
  struct ask : virtine::hypercall<7, void()> {};
  arena a;
  int served = 0;
  auto policy = virtine::policy{virtine::allow<ask>([&] {
    ++served;
    // The handler's own thread, in the middle of it.
    ::pthread_kill(::pthread_self(), SIGUSR2);
  })};
  virtine::virtine_fn<word(word, word, word, word), image::attack, decltype(policy)> fn(a.pool,
                                                                                        policy);
  const auto ended = fn.with({.timeout = 1h, .stop_if = is_cancel_requested})
                         .try_call(address_of("flood"), 0, 0, 7);
  CHECK(failed_by(ended, errc::cancelled));
  CHECK(served == 1);
  cancel_requested = 0;
  a.expect_good();
}

TEST_CASE("H99: an initialiser that never ends holds up no call beyond its own limits",
          "[hostile]") {
  virtine::basic_pool<virtine::detail::machine> pool(endless());
  std::atomic<bool> first_ended = false;
  std::stop_source stops;
  // Runs it, until it is told to stop.
  std::jthread first([&] {
    CHECK_FALSE(pool.borrow(1h, stops.get_token()));
    first_ended = true;
  });
  while (pool.size() == 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  CHECK(failed_by(pool.borrow(30ms), errc::timed_out));
  {
    stops_soon later;
    CHECK(failed_by(pool.borrow(1h, later.token()), errc::cancelled));
  }
  cancel_requested = 1;
  CHECK(failed_by(pool.borrow(1h, {}, is_cancel_requested), errc::cancelled));
  cancel_requested = 0;
  // They have waited, and not made the first wait for its initialiser's own end.
  CHECK_FALSE(first_ended);

  // Of those that wait when it is stopped one runs it anew.
  std::atomic<int> timed_out = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] { timed_out += failed_by(pool.borrow(300ms), errc::timed_out); });
    }
    std::this_thread::sleep_for(50ms);
    stops.request_stop();
  }
  first.join();
  CHECK(timed_out == 4);
  CHECK(pool.size() == 0);
}
