// What becomes of calls where the system limits or denies what they need: each resource limit at
// small values, each system call of the library's refused, and capabilities of KVM's missing. In a
// program of its own, whose process has made no call: each case is a child.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "in_child.hpp"
#include "scenarios.hpp"

using virtine::errc;

namespace {

constexpr unsigned a_hang = 120;  // Seconds.

/// What all scenarios came to in a child.
struct account {
  int values = 0;
  int errors = 0;
  int wrong = 0;                 ///< Values that are not right, and errors that say nothing.
  std::array<char, 200> what{};  ///< Of the first that is wrong.
};

/// Adds what a scenario came to. Allocates nothing.
void add(account& to, const char* name, const virtine::result<void>& came_to) {
  if (came_to) {
    ++to.values;
    return;
  }
  const virtine::error& why = came_to.error();
  const bool says_something = why.operation != nullptr && why.os_error != 0;
  if (virtine::blame_of(why.code) == virtine::blame::host && says_something) {
    ++to.errors;
  } else if (to.wrong++ == 0) {
    std::snprintf(to.what.data(), to.what.size(), "%s: %s, %s (%d)", name, virtine::name(why.code),
                  why.operation != nullptr ? why.operation : "", why.os_error);
  }
}

template <class Scenario>
virtine::result<void> run(std::optional<Scenario>& it) {
  try {
    if (!it) it.emplace();
    return it->run();
  } catch (const std::bad_alloc&) {
    // Of making a function, or of the test's own.
    return virtine::os::out_of_memory();
  } catch (const virtine::failure& why) {
    // Of a policy's directory, which says so by an exception.
    return why.error();
  } catch (const std::exception&) {
    // Of the test's own files.
    return virtine::os::out_of_memory();
  }
}

/// Runs every scenario in a child after `limit`; before it, too, if `warmed`. Fails the test if one
/// hangs, is killed, throws, or comes to anything but its value or an error that says something.
template <class Limit>
account all_in_child(bool warmed, const Limit& limit) {
  std::fflush(nullptr);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(a_hang);
    account done;
    if (warmed) {
      scenario::first_call first;
      static_cast<void>(first.run());
      limit();
      add(done, "a warmed call before all", first.run());
    } else {
      limit();
    }
    scenario::for_each([&]<class Scenario>() {
      std::optional<Scenario> it;
      add(done, Scenario::name, run(it));
    });
    static_cast<void>(!::write(pipe[1], &done, sizeof done));
    ::_exit(0);
  }
  ::close(pipe[1]);
  account done;
  const bool told = ::read(pipe[0], &done, sizeof done) == sizeof done;
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  INFO("signal " << (WIFSIGNALED(status) ? WTERMSIG(status) : 0));
  CHECK_FALSE(WIFSIGNALED(status));
  CHECK(told);
  if (done.wrong != 0) FAIL_CHECK(done.what.data());
  return done;
}

struct limit {
  const char* name;
  int what;
  rlim_t most;
};

void restrict(const limit& to) {
  const rlimit both{to.most, to.most};
  ::setrlimit(static_cast<__rlimit_resource>(to.what), &both);
}

/// Bytes of address space that this process has.
rlim_t address_space() {
  unsigned long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%lu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * 4096;
}

/// Has the kernel refuse system call `number` with `os_error`, for all threads; only one whose
/// arguments from the second on are `arguments`. With 0 for `os_error` the call does nothing and
/// returns 0.
void deny(long number, int os_error, std::initializer_list<std::uint32_t> arguments = {}) {
  constexpr auto load = [](std::size_t offset) {
    return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<__u32>(offset)};
  };
  const auto refuse = static_cast<__u32>(SECCOMP_RET_ERRNO | static_cast<unsigned>(os_error));
  std::vector<sock_filter> program{
      load(offsetof(seccomp_data, nr)),
      {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, static_cast<__u32>(number)},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  std::size_t at = offsetof(seccomp_data, args);
  for (const std::uint32_t argument : arguments) {
    program.push_back(load(at += sizeof(seccomp_data::args[0])));
    program.push_back({BPF_JMP | BPF_JEQ | BPF_K, 1, 0, argument});
    program.push_back({BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW});
  }
  program.push_back({BPF_RET | BPF_K, 0, 0, refuse});
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // Sound: the kernel copies the program.
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0) {
    ::_exit(77);
  }
}

struct denial {
  const char* name;
  long number;
};
#define CALL(name)    \
  denial {            \
#name, SYS_##name \
  }

}  // namespace

TEST_CASE("H112: at any resource limit calls come to a value or an error", "[shortages]") {
  const rlim_t now = address_space();
  constexpr rlim_t mib = 1 << 20;
  std::vector<limit> limits{
      {"file size", RLIMIT_FSIZE, 16},
      {"file size", RLIMIT_FSIZE, 4096},
      {"file size", RLIMIT_FSIZE, 100 * 1024},
      {"signals", RLIMIT_SIGPENDING, 0},
      {"locked memory", RLIMIT_MEMLOCK, 0},
      {"message queues", RLIMIT_MSGQUEUE, 0},
      {"stack", RLIMIT_STACK, 256 * 1024},
      {"stack", RLIMIT_STACK, mib},
      {"core", RLIMIT_CORE, 0},
  };
  for (rlim_t files = 3; files < 30; files += 1) {
    limits.push_back({"descriptors", RLIMIT_NOFILE, files});
  }
  for (const rlim_t more : {0U, 1U, 2U, 4U, 8U, 12U, 16U, 24U, 32U, 48U, 64U, 96U, 128U, 256U}) {
    limits.push_back({"address space", RLIMIT_AS, now + more * mib});
    limits.push_back({"data", RLIMIT_DATA, more * mib});
  }
  const bool warmed = GENERATE(false, true);
  int errors = 0;
  for (const limit& each : limits) {
    INFO(each.name << ' ' << each.most << (warmed ? ", warmed" : ""));
    errors += all_in_child(warmed, [&] { restrict(each); }).errors;
  }
  // As nobody, whom the limit of threads binds; the device is open already.
  INFO("threads" << (warmed ? ", warmed" : ""));
  errors += all_in_child(warmed, [] {
              static_cast<void>(virtine::kvm::system::shared());
              restrict({"threads", RLIMIT_NPROC, 0});
              static_cast<void>(!::setuid(65534));
            }).errors;
  CHECK(errors > 50);
}

TEST_CASE("H113: whatever system call is denied, calls come to a value or an error",
          "[shortages]") {
  // All that the library and its scenarios make. Not futex, exit and what the test needs; nor brk
  // and rseq, whose failure the C library does not survive.
  const std::array calls{
      CALL(openat),
      CALL(open),
      CALL(ioctl),
      CALL(mmap),
      CALL(munmap),
      CALL(mprotect),
      CALL(madvise),
      CALL(mremap),
      CALL(memfd_create),
      CALL(ftruncate),
      CALL(fcntl),
      CALL(pwrite64),
      CALL(pread64),
      CALL(read),
      CALL(lseek),
      CALL(fstat),
      CALL(newfstatat),
      CALL(fstatfs),
      CALL(statx),
      CALL(close),
      CALL(clone),
      CALL(clone3),
      CALL(set_robust_list),

      CALL(getpid),
      CALL(gettid),
      CALL(getppid),
      CALL(tgkill),
      CALL(rt_sigaction),
      CALL(rt_sigprocmask),
      CALL(rt_sigpending),
      CALL(rt_sigtimedwait),
      CALL(eventfd2),
      CALL(openat2),
      CALL(preadv2),
      CALL(pwritev2),
      CALL(poll),
      CALL(ppoll),
      CALL(getrandom),
      CALL(clock_gettime),
      CALL(clock_nanosleep),
      CALL(sched_yield),
      CALL(getdents64),
      CALL(prlimit64),
      CALL(getrlimit),
      CALL(rename),
      CALL(renameat),
      CALL(renameat2),
      CALL(unlink),
      CALL(unlinkat),
      CALL(mkdir),
      CALL(faccessat2),
      CALL(socket),
      CALL(bind),
      CALL(listen),
      CALL(sched_getaffinity),
      CALL(sched_setaffinity),
      CALL(getcpu),
      CALL(sched_setscheduler),
      CALL(membarrier),
      CALL(fchmod),
      CALL(readlink),
      CALL(fsync),
      CALL(prctl),
      CALL(arch_prctl),
      CALL(uname),
      CALL(sysinfo),
  };
  const bool warmed = GENERATE(true, false);
  const int os_error = warmed ? ENOSYS : EPERM;
  int errors = 0;
  for (const denial& each : calls) {
    INFO(each.name << " fails with " << os_error << (warmed ? ", after a call" : ""));
    errors += all_in_child(warmed, [&] { deny(each.number, os_error); }).errors;
  }
  CHECK(errors > 20);
}

TEST_CASE("whatever request of KVM's is denied, calls come to a value or an error", "[shortages]") {
  namespace requests = virtine::kvm::requests;
  const std::array all{
      requests::get_api_version.number,
      requests::create_vm.number,
      requests::check_extension.number,
      requests::get_vcpu_mmap_size.number,
      requests::get_supported_cpuid.number,
      requests::create_vcpu.number,
      requests::set_user_memory_region.number,
      requests::set_tss_addr.number,
      requests::run.number,
      requests::get_regs.number,
      requests::set_regs.number,
      requests::get_sregs.number,
      requests::set_sregs.number,
      requests::set_msrs<1>.number,
      requests::set_cpuid2.number,
      requests::set_mp_state.number,
      requests::set_vcpu_events.number,
      requests::set_debugregs.number,
      requests::enable_cap.number,
      requests::get_xsave.number,
      requests::set_xsave.number,
      requests::set_xcrs.number,
      requests::x86_set_msr_filter.number,
  };
  const int os_error = GENERATE(EPERM, ENOTTY);
  const bool warmed = GENERATE(false, true);
  int errors = 0;
  for (const auto request : all) {
    INFO(std::hex << request << " fails with " << os_error << (warmed ? ", after a call" : ""));
    errors += all_in_child(warmed, [&] {
                deny(SYS_ioctl, os_error, {static_cast<std::uint32_t>(request)});
              }).errors;
  }
  CHECK(errors > 20);
}

TEST_CASE("bare machines name the capability that KVM lacks", "[shortages]") {
  using virtine::kvm::capability;
  for (const auto id : {capability::x86_msr_filter, capability::vcpu_events, capability::debugregs,
                        capability::mp_state}) {
    const char* const name = virtine::kvm::name(id);
    INFO(name);
    CHECK(in_child([&] {
            // KVM says that it lacks it.
            deny(SYS_ioctl, 0,
                 {static_cast<std::uint32_t>(virtine::kvm::requests::check_extension.number),
                  static_cast<std::uint32_t>(id)});
            const auto made = virtine::bare_machine::create(virtine::bare_options{});
            if (made || made.error().code != errc::no_kvm) return 1;
            return std::string_view(made.error().operation).find(name) == std::string_view::npos
                       ? 2
                       : 0;
          }) == 0);
  }
}
