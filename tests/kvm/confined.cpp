// The seccomp filter of examples/calls_only.hpp: that the library needs no system call and no ioctl
// beyond its list. In a program of its own, whose process has made no call: each case is a child.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "../../examples/calls_only.hpp"
#include "in_child.hpp"
#include "scenarios.hpp"

namespace {

constexpr int needs_more = 3;

/// Tells which system call the filter has refused, and ends the process.
void tell(int, siginfo_t* what, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto path = [&](int argument) {
    return std::string_view(reinterpret_cast<const char*>(registers[argument]));
  };
  // Bare machines ask which KVM is there, and take the longer way if they may not.
  if ((what->si_syscall == SYS_access && path(REG_RDI).starts_with("/sys/module/kvm")) ||
      (what->si_syscall == SYS_openat && path(REG_RSI).starts_with("/sys/module/kvm"))) {
    registers[REG_RAX] = -EPERM;
    return;
  }
  std::array<char, 200> text{};
  const int length = std::snprintf(
      text.data(), text.size(), "not in the list: system call %d (0x%llx, 0x%llx, 0x%llx)\n",
      what->si_syscall, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX]);
  static_cast<void>(!::write(2, text.data(), static_cast<std::size_t>(length)));
  ::_exit(needs_more);
}

using rules = std::vector<calls_only::rule>;

rules all_of(std::initializer_list<std::span<const calls_only::rule>> lists) {
  rules all;
  for (const auto list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

/// Those need files, which are opened: of a grant, of a snapshot, of a debugger's socket.
template <class Scenario>
constexpr bool opens_files = std::is_same_v<Scenario, scenario::files> ||
                             std::is_same_v<Scenario, scenario::saved_snapshot> ||
                             std::is_same_v<Scenario, scenario::debugged_call>;

/// Machines that share a VM, one of which fails.
struct shared_vm {
  static constexpr const char* name = "machines of one VM";
  virtine::pool<guests::jobs> pool{{.machines_per_vm = 4}};
  scenario::quotient_fn divide{pool};
  virtine::result<void> run() {
    if (auto warm = pool.warm_up(4); !warm) return warm;
    if (divide.try_call(1, 0)) return scenario::expect(false);
    return scenario::expect(divide.try_call(12, 4), 3);
  }
};

/// Calls in a row, in which the guest stays inside and its thread leaves the caller's core.
struct long_session {
  static constexpr const char* name = "a session of many calls";
  virtine::virtine_fn<bool(int), guests::jobs::is_even> even;
  virtine::result<void> run() {
    virtine::session open(even);
    for (int i = 0; i < 2000; ++i) {
      if (auto right = scenario::expect(open.try_call(i), i % 2 == 0); !right) return right;
    }
    return {};
  }
};

/// Runs all scenarios that open no files, each from its beginning to its end, under the filter.
int all_confined(const rules& list) {
  struct sigaction action {};
  action.sa_sigaction = tell;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSYS, &action, nullptr);
  if (!calls_only::confine(list, SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_TRAP)) return 2;
  int wrong = 0;
  const auto run = [&]<class Scenario>() {
    if constexpr (!opens_files<Scenario>) {
      Scenario it;
      const auto came_to = it.run();
      if (came_to) return;
      std::fprintf(stderr, "%s: %s\n", Scenario::name, virtine::to_string(came_to.error()).c_str());
      wrong = 1;
    }
  };
  scenario::for_each(run);
  run.template operator()<shared_vm>();
  run.template operator()<long_session>();
  return wrong;
}

}  // namespace

TEST_CASE("the library needs no system call beyond its list", "[confined]") {
  using namespace calls_only;
  SECTION("from its first call on") {
    CHECK(in_child([] { return all_confined(all_of({to_begin, to_call, to_reset})); }) == 0);
  }
  SECTION("once it has opened the device") {
    CHECK(in_child([] {
            scenario::first_call first;
            if (!first.run()) return 1;
            return all_confined(all_of({to_call, to_reset}));
          }) == 0);
  }
}

TEST_CASE("a list that lacks something is noticed", "[confined]") {
  CHECK(in_child([] {
          rules list = all_of({calls_only::to_begin, calls_only::to_call, calls_only::to_reset});
          std::erase_if(list, [](const auto& each) { return each.number == SYS_madvise; });
          return all_confined(list);
        }) == needs_more);
}
