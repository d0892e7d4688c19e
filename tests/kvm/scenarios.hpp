// All that a program does with the library, as scenarios that a test can run where the host fails.
// Knows nothing of how it fails.
// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <guests/asks.hpp>
#include <guests/calls.hpp>
#include <guests/faults32.hpp>
#include <guests/halves64.hpp>
#include <guests/jobs.hpp>
#include <guests/prepared.hpp>
#include <guests/spins.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/gdb.hpp>
#include <virtine/posix.hpp>
#include <virtine/snapshot_file.hpp>
#include <virtine/virtine.hpp>

#include "guests/asks_types.hpp"
#include "guests/jobs_types.hpp"
#include "guests/prepared_types.hpp"
#include "guests/spins_types.hpp"
#include "told_calls.hpp"

/// Each has a constructor, which is to run where the host does not fail, and run(), which returns
/// whether all went well, or the first error. A wrong value is errc::bad_reply.
namespace scenario {

using virtine::errc;
using virtine::error;
using virtine::result;

inline result<void> expect(bool right) {
  if (right) return {};
  return error{.code = errc::bad_reply, .operation = "a scenario got a wrong value"};
}
template <class T>
result<void> expect(const result<T>& got, const T& wanted) {
  if (!got) return got.error();
  return expect(*got == wanted);
}

/// Returns a function with a pool of its own, made where that can fail: as any object's,
/// its construction may throw std::bad_alloc.
template <class Fn>
result<std::unique_ptr<Fn>> make() {
  return virtine::os::or_out_of_memory(
      []() -> result<std::unique_ptr<Fn>> { return std::make_unique<Fn>(); });
}

using jobs = guests::jobs;
using quotient_fn = virtine::virtine_fn<int(int, int), jobs::quotient>;

struct first_call {
  static constexpr const char* name = "a first call";
  quotient_fn divide;
  result<void> run() { return expect(divide.try_call(12, 4), 3); }
};

struct warmed_call : first_call {
  static constexpr const char* name = "a warmed call";
  warmed_call() { static_cast<void>(run()); }
};

struct first_writes {
  static constexpr const char* name = "first writes";
  virtine::virtine_fn<int(int), jobs::dirty> dirty;
  first_writes() { static_cast<void>(dirty.try_call(0)); }
  result<void> run() { return expect(dirty.try_call(64), 0); }
};

struct filler {
  std::array<std::uint32_t, 3000> ones;
  std::uint32_t operator()(virtine::guest_buffer<std::uint32_t> to) const {
    return static_cast<std::uint32_t>(to.fill(ones));
  }
};

struct hypercalls {
  static constexpr const char* name = "a hypercall that writes to new pages";
  using granted = virtine::policy<virtine::allowed<fill_in, filler>>;
  virtine::virtine_fn<std::uint64_t(std::uint32_t), guests::asks::filled_by_host, granted> fill;

  hypercalls() : fill(granted(virtine::allow<fill_in>(filler{{1, 2}}))) {}
  result<void> run() {
    const auto sum = fill.try_call(3000);
    if (!sum) return sum.error();
    return expect((*sum & 0xffffffff) == 3);
  }
};

struct questions {
  static constexpr const char* name = "hypercalls";
  virtine::virtine_fn<int(int), jobs::ask,
                      virtine::policy<virtine::allowed<question, int (*)(virtine::tainted<int>)>>>
      ask{virtine::policy(virtine::allow<question>(+[](virtine::tainted<int>) { return 1; }))};
  result<void> run() { return expect(ask.try_call(3), 3); }
};

struct files {
  static constexpr const char* name = "system calls of a guest";
  using sig = void(std::span<told_call>, std::span<std::byte>);
  using granted = decltype(virtine::policy{
      virtine::posix::directory<"/d">("/", virtine::posix::read_only),
      virtine::posix::output(std::declval<std::string&>(), 100), virtine::posix::clock(),
      virtine::allow_entropy(), virtine::posix::others_fail_with_enosys()});
  told::scratch directory;
  std::string text;
  told::script script;
  std::vector<told_call> calls;
  std::size_t opened = 0;
  std::size_t got = 0;
  std::optional<virtine::virtine_fn<sig, guests::calls::make_calls, granted>> fn;

  files() {
    directory.put("file", "content");
    text.reserve(1000);
    fn.emplace(virtine::policy{
        virtine::posix::directory<"/d">(directory.path(), virtine::posix::read_only),
        virtine::posix::output(text, 100), virtine::posix::clock(), virtine::allow_entropy(),
        virtine::posix::others_fail_with_enosys()});
    const auto path = script.text("/d/file");
    const auto root = script.text("/d");
    const auto room = script.room(4096);
    opened = script.add(SYS_openat, {AT_FDCWD, path, O_RDONLY, 0});
    got = script.add(SYS_read, {3, room, 7});
    script.add(SYS_fstat, {3, room});
    script.add(SYS_readv, {3, script.vectors({{room, 10}}), 1});
    script.add(SYS_openat, {AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0});
    script.add(SYS_getdents64, {4, room, 4096});
    script.add(SYS_newfstatat, {AT_FDCWD, path, room, 0});
    script.add(SYS_write, {1, path, 4});
    script.add(SYS_getrandom, {room, 16, 0});
    script.add(SYS_clock_gettime, {1, room});
    script.add(SYS_close, {3});
    script.add(SYS_socket, {1, 1, 0});
    calls = script.calls;
  }
  result<void> run() {
    script.calls = calls;  // Of the same size, so that this takes no memory.
    if (auto ran = fn->try_call(std::span(script.calls), std::span(script.memory)); !ran) {
      return ran.error();
    }
    // What the host fails at is the guest's error.
    for (const std::size_t each : {opened, got}) {
      if (script[each] >= 0) continue;
      return error{.code = errc::os_error,
                   .os_error = static_cast<int>(-script[each]),
                   .operation = "a system call of the guest"};
    }
    return expect(script[got] == 7);
  }
};

struct each_job {
  static constexpr const char* name = "each()";
  quotient_fn divide;
  std::array<std::tuple<int, int>, 3> work{{{6, 2}, {8, 2}, {9, 3}}};
  result<void> run() {
    try {
      const auto results = divide.each(work);
      for (std::size_t i = 0; i < work.size(); ++i) {
        const auto& [a, b] = work[i];
        if (auto right = expect(results[i], a / b); !right) return right;
      }
      return {};
    } catch (const virtine::failure& why) {
      // The one error that has no result to be in.
      return why.error();
    }
  }
};

struct together_jobs {
  static constexpr const char* name = "together()";
  quotient_fn divide;
  std::array<std::tuple<int, int>, 3> work{{{6, 2}, {8, 2}, {9, 3}}};
  result<void> run() {
    const auto results = divide.together(work);
    if (!results) return results.error();
    return expect((*results)[0] == 3 && (*results)[1] == 4 && (*results)[2] == 3);
  }
};

struct session_calls {
  static constexpr const char* name = "a session";
  virtine::virtine_fn<int(int), jobs::dirty> dirty;
  virtine::virtine_fn<bool(int), jobs::is_even> even;
  result<void> run() {
    virtine::session open(dirty);
    if (auto first = expect(open.try_call(40), 0); !first) return first;
    if (auto second = expect(open.try_call(0), 40); !second) return second;
    virtine::session other(even);
    return expect(other.try_call(3), false);
  }
};

struct background_call {
  static constexpr const char* name = "async()";
  quotient_fn divide;
  result<void> run() {
    auto pending = divide.async(12, 3);
    auto second = divide.async(12, 2);
    const auto event = pending.event_fd();
    if (auto first = expect(pending.try_get(), 4); !first) return first;
    if (auto last = expect(second.try_get(), 6); !last) return last;
    if (!event) return event.error();
    return {};
  }
};

struct pool_keeping {
  static constexpr const char* name = "warm_up() and trim()";
  virtine::pool<jobs> pool{{.max = 3}};
  result<void> run() {
    if (auto warm = pool.warm_up(3); !warm) return warm;
    pool.trim(1);
    if (pool.stats().machines != 1) return expect(false);
    pool.trim(0);
    return expect(pool.size() == 0);
  }
};

struct background_cleaning {
  static constexpr const char* name = "a pool with a thread of its own";
  virtine::pool<jobs> pool{{.warm = 1, .cleaning = virtine::cleaning::in_background}};
  quotient_fn divide{pool};
  result<void> run() {
    for (int i = 1; i < 4; ++i) {
      if (auto right = expect(divide.try_call(12, i), 12 / i); !right) return right;
    }
    return {};
  }
};

struct one_machine {
  static constexpr const char* name = "a call beyond the pool's most";
  virtine::pool<jobs> pool{{.max = 1, .when_exhausted = virtine::when_exhausted::create}};
  quotient_fn divide{pool};
  result<void> run() {
    auto held = pool.borrow();
    if (!held) return held.error();
    auto right = expect(divide.try_call(12, 4), 3);
    held->give_back(0);
    return right;
  }
};

struct failed_call {
  static constexpr const char* name = "a call that faults, and one after it";
  quotient_fn divide;
  result<void> run() {
    if (const auto fault = divide.try_call(1, 0); fault) return expect(false);
    return expect(divide.try_call(12, 4), 3);
  }
};

struct deadline {
  static constexpr const char* name = "a call that does not end";
  virtine::virtine_fn<int(std::uint64_t), jobs::spin> spin;
  result<void> run() {
    const auto ended =
        spin.with({.timeout = std::chrono::milliseconds(20)}).try_call(std::uint64_t{1} << 62);
    if (ended) return expect(false);
    if (ended.error().code == errc::timed_out) return {};
    return ended.error();
  }
};

struct initialiser {
  static constexpr const char* name = "an initialiser";
  result<void> run() {
    const auto state = make<virtine::virtine_fn<prepared_state(), guests::prepared::state>>();
    if (!state) return state.error();
    const auto got = (*state)->try_call();
    if (!got) return got.error();
    return expect(got->trace == 123 && got->calls == 1);
  }
};

struct saved_snapshot {
  static constexpr const char* name = "a saved snapshot";
  told::scratch directory;
  std::string path = directory.path("snapshot");
  result<void> run() {
    if (auto saved = virtine::save_snapshot<guests::prepared>(path); !saved) return saved;
    const auto loaded = virtine::load_snapshot<guests::prepared>(path);
    if (!loaded) return loaded.error();
    const auto wrong =
        make<virtine::virtine_fn<std::uint64_t(), guests::prepared::wrong_squares>>();
    if (!wrong) return wrong.error();
    return expect((*wrong)->try_call(), std::uint64_t{0});
  }
};

struct by_hand {
  static constexpr const char* name = "a bare machine";
  result<void> run() {
    auto made = virtine::bare_machine::create(virtine::bare_options{});
    if (!made) return made.error();
    virtine::bare_machine& guest = **made;
    const std::string_view code = guests::halves64::description.segments[0].content;
    const auto where = virtine::guest_address{virtine::bare_machine::load_address};
    if (auto put = guest.load(where, std::as_bytes(std::span(code))); !put) return put;
    kvm_regs regs{};
    regs.rip = guests::halves64::halves::address;
    regs.rsp = virtine::bare_machine::stack_top;
    regs.rax = 8;
    regs.rflags = virtine::x86::initial_rflags;
    if (auto set = guest.set_registers(regs); !set) return set;
    const auto left = guest.run();
    if (!left) return left.error();
    const auto* const out = std::get_if<virtine::kvm::io_exit>(&*left);
    if (out == nullptr || out->port != 0x10 || out->data[0] != std::byte{4}) return expect(false);
    return guest.reset();
  }
};

struct bare_call {
  static constexpr const char* name = "a call of a bare image";
  virtine::virtine_fn<int(int), guests::faults32::fault_on_zero> divide;
  result<void> run() {
    const auto got = divide.try_call(1);
    if (!got) return got.error();
    return {};
  }
};

struct debugged_call {
  static constexpr const char* name = "a call for a debugger that cannot connect";
  quotient_fn divide;
  decltype(virtine::gdb::debug(std::declval<quotient_fn&>(), {})) debugged =
      virtine::gdb::debug(divide, {.socket = "/nonexistent/socket"});
  result<void> run() {
    const auto refused = debugged.try_call(12, 4);
    if (refused) return expect(false);
    if (refused.error().code == errc::os_error && refused.error().os_error == ENOENT) return {};
    return refused.error();
  }
};

/// Calls `visit.template operator()<S>()` for each scenario S.
template <class Visit>
void for_each(Visit visit) {
  visit.template operator()<first_call>();
  visit.template operator()<warmed_call>();
  visit.template operator()<first_writes>();
  visit.template operator()<hypercalls>();
  visit.template operator()<questions>();
  visit.template operator()<files>();
  visit.template operator()<each_job>();
  visit.template operator()<together_jobs>();
  visit.template operator()<session_calls>();
  visit.template operator()<background_call>();
  visit.template operator()<pool_keeping>();
  visit.template operator()<background_cleaning>();
  visit.template operator()<one_machine>();
  visit.template operator()<failed_call>();
  visit.template operator()<deadline>();
  visit.template operator()<initialiser>();
  visit.template operator()<saved_snapshot>();
  visit.template operator()<by_hand>();
  visit.template operator()<bare_call>();
  visit.template operator()<debugged_call>();
}

}  // namespace scenario
