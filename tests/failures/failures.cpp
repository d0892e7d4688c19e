// What becomes of calls where the kernel fails a system call of the library's: each in its turn, in
// everything that a program does with the library, with each error that the call has.
// In a program of its own, whose library asks before each system call whether it is to fail.
// SPDX-License-Identifier: MIT
#include "failing.hpp"

#include "../catch.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "scenarios.hpp"

using failing::plan;
using virtine::errc;

namespace {

constexpr unsigned a_hang = 60;  // Seconds: nothing here takes one.
/// So many failures in a row end whatever the first one begins, and not what is tried for ever.
constexpr std::int64_t many = 12;

std::atomic<const char*> under_way{""};

/// Says at the end of a hang what it was that failed.
void tell_hang(int /*signal*/) {
  std::array<char, 300> text{};
  const std::size_t what = failing::last;
  const int size = std::snprintf(
      text.data(), text.size(), "hangs: %s, after %s failed with %d\n", under_way.load(),
      what < failing::count ? failing::name(what).data() : "nothing", failing::last_error.load());
  static_cast<void>(!::write(2, text.data(), static_cast<std::size_t>(size)));
  ::_exit(1);
}

/// What a process has that it could lose.
struct holdings {
  std::size_t descriptors = told::descriptors();
  std::size_t threads = told::threads();
  std::size_t mapped = failing::mapped.bytes();

  friend bool operator==(const holdings&, const holdings&) = default;
};

/// Returns whether it has what it had, once threads that were told to end have.
bool has_again(const holdings& before) {
  for (int i = 0; i < 500; ++i) {
    if (holdings() == before) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

struct attempt {
  virtine::result<void> came_to;
  std::string thrown = {};
  std::size_t what = plan::any;  // The last that failed.
  int error = 0;
  virtine::result<void> afterwards;
};

/// Runs a scenario in which calls fail as planned, and then once more without.
template <class Scenario>
attempt run(Scenario& it, const plan& planned) {
  attempt out;
  try {
    const failing::failure now(planned);
    out.came_to = it.run();
  } catch (const std::exception& why) {
    out.thrown = why.what();
  }
  out.what = failing::last;
  out.error = failing::last_error;
  out.afterwards = it.run();
  return out;
}

/// Some failures have another meaning for who called.
struct another_meaning {
  std::string_view file;
  std::string_view name;
  int os_error;
};
constexpr std::array other_meanings{
    // What cannot be told to be a file or a terminal is taken for something worse.
    another_meaning{"posix/no_wait.hpp", "isatty", EWOULDBLOCK},
    another_meaning{"posix/no_wait.hpp", "isatty", EOPNOTSUPP},
    another_meaning{"posix/host_files.hpp", "fstatfs", EWOULDBLOCK},
    another_meaning{"posix/host_files.hpp", "fstatfs", EOPNOTSUPP},
    // An open directory whose path nobody knows is nowhere.
    another_meaning{"posix/host_files.hpp", "readlink", ENOENT},
    // A file whose name leads nowhere cannot be replaced.
    another_meaning{"snapshot_file.hpp", "stat", EINVAL},
};

/// Returns whether an error tells of a call that failed.
bool tells(const virtine::error& told, std::size_t what, int failed) {
  if (told.os_error == failed) return true;
  // The debugger has gone, or was not heard.
  if (told.code == errc::cancelled || told.code == errc::timed_out) {
    return failing::describe(what).find("gdb/connection.hpp") != std::string::npos;
  }
  return what < failing::call_count &&
         std::any_of(other_meanings.begin(), other_meanings.end(), [&](const auto& each) {
           return each.file == failing::calls[what].file &&
                  each.name == failing::calls[what].name && each.os_error == told.os_error;
         });
}

/// Returns what is wrong with an attempt; nothing if all is well.
std::string complaint(const attempt& got, const plan& planned) {
  if (!got.thrown.empty()) return "it threw: " + got.thrown;
  if (!got.afterwards) {
    return "it fails afterwards: " + virtine::to_string(got.afterwards.error());
  }
  if (got.came_to) return {};
  const virtine::error& why = got.came_to.error();
  if (got.what == plan::any) return "nothing failed, and yet: " + virtine::to_string(why);
  if (planned.in_a_row == 1 && !tells(why, got.what, got.error)) {
    return "it says something else: " + virtine::to_string(why);
  }
  if (planned.in_a_row > 1 && virtine::blame_of(why.code) == virtine::blame::guest) {
    return "it blames the guest: " + virtine::to_string(why);
  }
  return {};
}

/// Tries one failure. Returns what failed; plan::any if there was no such call.
template <class Scenario>
std::size_t try_one(const plan& planned) {
  const holdings before;
  attempt got;
  {
    Scenario it;
    got = run(it, planned);
  }
  const std::string wrong = complaint(got, planned);
  const bool kept = !has_again(before);
  if (!wrong.empty() || kept) {
    INFO(Scenario::name << ", call " << planned.nth << (planned.in_a_row > 1 ? ", and more" : ""));
    const holdings after;
    INFO("descriptors " << before.descriptors << " -> " << after.descriptors << ", threads "
                        << before.threads << " -> " << after.threads << ", mapped " << before.mapped
                        << " -> " << after.mapped);
    FAIL_CHECK((got.what == plan::any ? "nothing" : failing::describe(got.what))
               << " failed with " << got.error << ": "
               << (wrong.empty() ? "something is left" : wrong));
  }
  return got.what;
}

/// Has each call fail that `attempt_one(plan)` makes, which returns what failed.
template <class Attempt>
void fail_each_call(const Attempt& attempt_one) {
  const auto& all = failing::all();
  // What was made so far is of others.
  std::array<std::uint32_t, failing::count> made{};
  std::copy(all.made.begin(), all.made.end(), made.begin());
  for (auto& each : failing::all().after) each = 0;
  // Each call, with one of its errors; a few times together with those that come then.
  static std::array<int, failing::count> rows{};
  for (std::int64_t nth = 0;; ++nth) {
    const std::size_t what = attempt_one(plan{.nth = nth, .error = std::size_t(nth)});
    if (what == plan::any) break;
    REQUIRE(nth < 10'000);
    if (++rows[what] > 5) continue;
    static_cast<void>(attempt_one(plan{.nth = nth, .in_a_row = many}));
  }
  // Each error of each call, where nothing before has tried it.
  for (std::size_t what = 0; what < failing::count; ++what) {
    if (all.made[what] == made[what]) continue;
    for (std::size_t error = 0; error < failing::errors_of(what).size(); ++error) {
      // More than once, because what other threads do is not always the same.
      for (int i = 0; i < 10 && all.failed[what][error] == 0; ++i) {
        if (attempt_one(plan{.what = what, .error = error}) != plan::any) break;
        const std::int64_t after = all.after[what];
        if (after == 0) continue;
        static_cast<void>(attempt_one(plan{.nth = after - 1, .in_a_row = many, .later = error}));
      }
    }
  }
}

template <class Scenario>
void fail_each_call_of() {
  under_way = Scenario::name;
  ::alarm(a_hang);
  // Once without a failure, for what is made once in a process.
  {
    Scenario it;
    const attempt got = run(it, {.nth = INT64_MAX});
    INFO(Scenario::name);
    if (!got.came_to) FAIL(virtine::to_string(got.came_to.error()));
  }
  fail_each_call(try_one<Scenario>);
  ::alarm(0);
}

/// The same in a process that has made no call yet, for what is done once in each.
std::size_t try_in_new_process(const plan& planned) {
  std::fflush(nullptr);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(a_hang);
    // The function is made while calls fail, too.
    struct first_use {
      std::optional<scenario::first_call> it;
      virtine::result<void> run() {
        if (!it) it.emplace();
        return it->run();
      }
    } use;
    const attempt got = run(use, planned);
    const std::size_t what = got.what;
    const std::string wrong = complaint(got, planned);
    static_cast<void>(!::write(pipe[1], &what, sizeof what));
    static_cast<void>(!::write(pipe[1], wrong.data(), wrong.size()));
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::size_t what = plan::any;
  const bool told = ::read(pipe[0], &what, sizeof what) == sizeof what;
  std::array<char, 500> wrong{};
  static_cast<void>(!::read(pipe[0], wrong.data(), wrong.size() - 1));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  INFO("a first call, call " << planned.nth << (planned.in_a_row > 1 ? ", and more" : ""));
  INFO((what == plan::any ? "nothing" : failing::describe(what)) << " failed");
  CHECK(told);
  CHECK(status == 0);
  CHECK(std::string(wrong.data()).empty());
  return what;
}

/// Runs `calls` until the session's thread has taken part, or for some seconds.
void fail_in_session_thread() {
  under_way = "a session whose thread runs the guest";
  virtine::virtine_fn<bool(int), scenario::jobs::is_even> even;
  for (std::size_t what = 0; what < failing::call_count; ++what) {
    const failing::call_site& site = failing::calls[what];
    if (std::string_view(site.file) != "machine/session_thread.hpp" ||
        site.name == std::string_view("std::thread")) {
      continue;
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (failing::all().failed[what][0] == 0 && std::chrono::steady_clock::now() < until) {
      const failing::failure now({.what = what, .in_a_row = INT64_MAX});
      virtine::session open(even);
      for (int i = 0; i < 100; ++i) CHECK(open.try_call(i).value_or(i % 2 != 0) == (i % 2 == 0));
    }
  }
}

}  // namespace

TEST_CASE("H133: whichever system call fails, calls come to a value or an error", "[failures]") {
  struct sigaction on_hang {};
  on_hang.sa_handler = tell_hang;
  ::sigaction(SIGALRM, &on_hang, nullptr);
  static_cast<void>(failing::all());

  // First, while this process has made no call.
  fail_each_call(try_in_new_process);
  // Two threads make the page that tells processes from their children at one time.
  const auto another_is_faster = [] {
    static_cast<void>(virtine::os::number_process());
    // Then its page cannot be unmapped.
    failing::current.what = failing::site_of("os/process.hpp", "munmap") + 1;
    failing::current.before = nullptr;
    failing::before_failure = 0;
    failing::armed = true;
  };
  const std::size_t page = failing::site_of("os/process.hpp", "mmap");
  for (std::size_t error = 0; error < 2; ++error) {
    static_cast<void>(
        try_in_new_process({.what = page, .error = error, .before = another_is_faster}));
  }

  scenario::for_each([]<class Scenario>() {
    // Of these there is another below.
    constexpr bool is_repeated = std::is_same_v<Scenario, scenario::deadline> ||
                                 std::is_same_v<Scenario, scenario::saved_snapshot>;
    if constexpr (!is_repeated) fail_each_call_of<Scenario>();
  });
  scenario::for_each_more([]<class Scenario>() { fail_each_call_of<Scenario>(); });
  fail_in_session_thread();

  std::uint64_t failures = 0;
  for (std::size_t what = 0; what < failing::count; ++what) {
    const auto errors = failing::errors_of(what);
    for (std::size_t error = 0; error < errors.size(); ++error) {
      const std::uint32_t times = failing::all().failed[what][error];
      failures += times;
      if (times == 0) {
        FAIL_CHECK(failing::describe(what) << " has never failed with " << errors[error]);
      }
    }
  }
  std::printf("%zu calls and %zu requests of KVM's have failed, %llu times in all\n",
              failing::call_count, std::size(failing::requests),
              static_cast<unsigned long long>(failures));
}
