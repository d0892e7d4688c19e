// Calls under a debugger, which a test plays: what it sees, what it can change, how it ends.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>

#include <guests/calls.hpp>
#include <guests/debugged.hpp>
#include <virtine/gdb.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "gdb_client.hpp"
#include "told_calls.hpp"

using namespace virtine;
using namespace virtine::detail;
using gdb_client::debugger;
using gdb_client::hex;

namespace {

using debugged = guests::debugged;

struct asked : hypercall<1, void()> {};

std::uint64_t address_of(std::string_view name) {
  for (const symbol& each : debugged::description.symbols) {
    if (each.name == name) return each.address;
  }
  FAIL("no symbol " << name);
  return 0;
}

// An entry of the image as a function whose hypercalls are answered.
template <class Sig, class Entry>
auto debugged_function() {
  const auto policy = virtine::policy{allow<asked>([] {})};
  return virtine_fn<Sig, Entry, decltype(policy)>(policy);
}

// A call on a thread of its own, and what debugs it.
template <class Fn, class... A>
struct session_of {
  explicit session_of(Fn& fn, gdb::options how, A... arguments)
      : call(std::async(
            std::launch::async,
            [&fn, how, arguments...] { return gdb::debug(fn, how).try_call(arguments...); })),
        client(debugger::connect(how.socket, call)) {}

  // Returns how the call has ended. It has, or will by the end of its debugger: no test hangs.
  auto outcome() {
    client.close();
    return call.get();
  }

  std::future<decltype(std::declval<Fn&>().try_call(std::declval<A>()...))> call;
  debugger client;
};

template <class Fn, class... A>
auto start(Fn& fn, gdb::options how, A... arguments) {
  how.socket = gdb_client::socket_path();
  return session_of<Fn, A...>(fn, std::move(how), arguments...);
}

}  // namespace

TEST_CASE("a debugger sees a call's registers and steps through it", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  auto at = start(triple, {}, 14);
  CHECK(at.client.ask("?") == "T05");
  CHECK(at.client.rip() == debugged::triple::address);
  CHECK(at.client.ask("g").size() == 2 * gdb::detail::register_file::size);
  CHECK(at.client.ask("s") == "T05");
  CHECK(at.client.rip() == address_of("triple_second"));
  CHECK(at.client.rax() == 14);
  CHECK(at.client.ask("s") == "T05");
  CHECK(at.client.rip() == address_of("triple_third"));
  CHECK(at.client.rax() == 42);
  // RFLAGS as the guest has them.
  CHECK((debugger::number(at.client.ask("p11") + "00000000") & 1 << 8) == 0);
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome().value() == 42);
  CHECK(triple(5) == 15);
}

TEST_CASE("breakpoints stop a call and do not show in its memory", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  auto at = start(triple, {}, 2);
  const std::string third = hex(address_of("triple_third"));
  const std::string code = at.client.ask("m" + third + ",2");
  CHECK(code == "8907");
  CHECK(at.client.ask("Z0," + third + ",1") == "OK");
  CHECK(at.client.ask("m" + third + ",2") == code);
  CHECK(at.client.ask("c") == "T05swbreak:;");
  CHECK(at.client.rip() == address_of("triple_third"));
  CHECK(at.client.ask("m" + third + ",2") == code);
  CHECK(at.client.rax() == 6);
  CHECK(at.client.ask("z0," + third + ",1") == "OK");
  CHECK(at.client.ask("P0=6300000000000000") == "OK");
  // Back to a breakpoint that has come since.
  const std::string second = hex(address_of("triple_second"));
  CHECK(at.client.ask("Z0," + second + ",1") == "OK");
  CHECK(at.client.ask("c" + hex(debugged::triple::address)) == "T05swbreak:;");
  CHECK(at.client.rax() == 2);
  CHECK(at.client.ask("z0," + second + ",1") == "OK");
  CHECK(at.client.ask("P0=0a00000000000000") == "OK");
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome().value() == 30);
  // Other machines have the code as it was.
  CHECK(triple(3) == 9);
}

TEST_CASE("a debugger changes code, data and arguments of its call only", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  auto at = start(triple, {}, 2);
  const std::uint64_t frame = debugger::number(at.client.ask("p5"));
  CHECK(at.client.ask("m" + hex(frame) + ",8") == "0000000002000000");
  CHECK(at.client.ask("M" + hex(frame + 4) + ",4:07000000") == "OK");
  // lea eax, [rax + rax * 4]
  CHECK(at.client.ask("M" + hex(address_of("triple_second")) + ",3:8d0480") == "OK");
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome().value() == 35);
  CHECK(triple(3) == 9);
}

TEST_CASE("code that is changed while the guest has it in use", "[gdb]") {
  // Whatever the host keeps of the page has to go: here it has run before the change, and does so
  // again and again.
  auto triple = debugged_function<int(int), debugged::triple>();
  auto at = start(triple, {}, 1);
  const std::string third = hex(address_of("triple_third"));
  for (int round = 0; round < 20; ++round) {
    CHECK(at.client.ask("Z0," + third + ",1") == "OK");
    CHECK(at.client.ask("c" + hex(debugged::triple::address)) == "T05swbreak:;");
    CHECK(at.client.ask("z0," + third + ",1") == "OK");
    CHECK(at.client.ask("s") == "T05");
    CHECK(at.client.rip() == address_of("triple_third") + 2);
  }
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome().value() == 3);
}

TEST_CASE("hypercalls are served under a debugger, and can be stepped over", "[gdb]") {
  int served = 0;
  const auto policy = virtine::policy{allow<asked>([&] { ++served; })};
  virtine_fn<int(int), debugged::asks, decltype(policy)> asks(policy);
  auto at = start(asks, {}, 0);
  int steps = 0;
  std::string stopped = "T05";
  bool was_after = false;
  for (; stopped == "T05" && steps < 100; ++steps) {
    was_after = was_after || at.client.rip() == address_of("asks_after");
    stopped = at.client.ask("s");
  }
  CHECK(stopped == "W00");
  CHECK(was_after);
  CHECK(steps > 10);
  CHECK(at.outcome().value() == 0);
  CHECK(served == 1);
}

TEST_CASE("what a hypercall or a policy ends is told to the debugger", "[gdb]") {
  const auto policy = virtine::policy{allow<asked>([]() -> answer<void> { return reject{}; })};
  virtine_fn<int(int), debugged::asks, decltype(policy)> asks(policy);
  auto at = start(asks, {}, 0);
  CHECK(at.client.ask("c") == "X09");
  CHECK(at.client.said.find(gdb::detail::to_hex("hypercall_rejected")) == 0);
  CHECK(at.outcome().error().code == errc::hypercall_rejected);
}

TEST_CASE("a fault stops for the debugger, which decides how it goes on", "[gdb]") {
  auto divides = debugged_function<int(int), debugged::divides>();

  auto ended = start(divides, {}, 0);
  CHECK(ended.client.ask("c") == "T08");
  CHECK(ended.client.said.find(gdb::detail::to_hex("guest_fault: divide error")) == 0);
  CHECK(ended.client.rip() == address_of("divides_here"));
  // Without its signal it meets the same fault again.
  CHECK(ended.client.ask("c") == "T08");
  CHECK(ended.client.ask("C08") == "X09");
  const auto why = ended.outcome();
  REQUIRE_FALSE(why);
  CHECK(why.error().code == errc::guest_fault);
  CHECK(why.error().fault.kind == fault_kind::divide_error);
  CHECK(why.error().fault.instruction == address_of("divides_here"));

  auto mended = start(divides, {}, 0);
  CHECK(mended.client.ask("c") == "T08");
  const std::uint64_t frame = debugger::number(mended.client.ask("p5"));
  CHECK(mended.client.ask("M" + hex(frame + 4) + ",4:02000000") == "OK");
  CHECK(mended.client.ask("c") == "W00");
  CHECK(mended.outcome().value() == 42);

  // One that runs freely until it faults, and one that does not fault.
  auto found = start(divides, {.when = gdb::attach::at_fault}, 0);
  CHECK(found.client.ask("?") == "T08");
  CHECK(found.client.ask("qRcmd,776879").find(gdb::detail::to_hex("guest_fault: divide error")) ==
        0);
  CHECK(found.client.rip() == address_of("divides_here"));
  CHECK(found.client.ask("D") == "OK");
  CHECK(found.outcome().error().fault.kind == fault_kind::divide_error);
  const gdb::options free{.socket = gdb_client::socket_path(), .when = gdb::attach::at_fault};
  CHECK(gdb::debug(divides, free)(7) == 12);
  CHECK_FALSE(std::filesystem::exists(free.socket));
}

TEST_CASE("an int3 of the guest's own is not the debugger's", "[gdb]") {
  auto traps = debugged_function<void(), debugged::traps>();
  auto at = start(traps, {});
  CHECK(at.client.ask("c") == "T05");
  CHECK(at.client.said.find(gdb::detail::to_hex("guest_fault: breakpoint")) == 0);
  CHECK(at.client.rip() == debugged::traps::address + 1);
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome());
}

TEST_CASE("a guest cannot write code under a debugger, nor go on from a foul exit", "[gdb]") {
  auto rewrites = debugged_function<void(), debugged::rewrites>();
  auto at = start(rewrites, {});
  // So that the page is one of the machine's own.
  CHECK(at.client.ask("Z0," + hex(debugged::foul::address) + ",1") == "OK");
  CHECK(at.client.ask("c") == "T0b");
  CHECK(at.client.ask("C0b") == "X09");
  CHECK(at.outcome().error().fault.kind == fault_kind::protection);

  auto foul = debugged_function<void(), debugged::foul>();
  auto left = start(foul, {});
  CHECK(left.client.ask("c") == "T0b");
  CHECK(left.client.ask("g").size() == 2 * gdb::detail::register_file::size);
  CHECK(left.client.ask("c") == "X09");
  CHECK(left.outcome().error().fault.kind == fault_kind::general_protection);
}

TEST_CASE("a debugger breaks into a call that runs", "[gdb]") {
  auto turns = debugged_function<void(), debugged::turns>();
  auto at = start(turns, {});
  for (int i = 0; i < 3; ++i) {
    at.client.send("c");
    at.client.interrupt();
    CHECK(at.client.receive() == "T02");
    const std::uint64_t rip = at.client.rip();
    CHECK(rip >= debugged::turns::address);
    CHECK(rip < debugged::turns::address + 16);
    CHECK(at.client.ask("s") == "T05");
    CHECK(at.client.rip() != rip);
  }
  CHECK(at.client.ask("M" + hex(debugged::description.segments.back().address) +
                      ",8:0000000000000000") == "OK");
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome());
}

TEST_CASE("a call whose debugger lets go, kills or hangs up", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  auto left = start(triple, {}, 4);
  CHECK(left.client.ask("Z0," + hex(address_of("triple_third")) + ",1") == "OK");
  CHECK(left.client.ask("D") == "OK");
  CHECK(left.outcome().value() == 12);

  auto killed = start(triple, {}, 4);
  killed.client.send("k");
  CHECK(killed.outcome().error().code == errc::cancelled);

  auto dropped = start(triple, {}, 4);
  CHECK(dropped.client.ask("?") == "T05");
  const auto why = dropped.outcome();
  REQUIRE_FALSE(why);
  CHECK(why.error().code == errc::cancelled);
  CHECK(to_string(why.error()).find("hung up") != std::string::npos);

  // While the guest runs.
  auto turns = debugged_function<void(), debugged::turns>();
  auto running = start(turns, {});
  running.client.send("c");
  CHECK(running.outcome().error().code == errc::cancelled);
}

TEST_CASE("limits hold while a call waits, stands still and runs", "[gdb]") {
  using namespace std::chrono_literals;
  auto turns = debugged_function<void(), debugged::turns>();
  // Nobody comes.
  gdb::options alone{.socket = gdb_client::socket_path(), .limits = {.timeout = 1ms}};
  CHECK(gdb::debug(turns, alone).try_call().error().code == errc::timed_out);
  std::stop_source stop;
  stop.request_stop();
  alone.limits = {.stop = stop.get_token()};
  CHECK(gdb::debug(turns, alone).try_call().error().code == errc::cancelled);
  CHECK_FALSE(std::filesystem::exists(alone.socket));

  std::stop_source still;
  auto stopped = start(turns, {.limits = {.stop = still.get_token()}});
  CHECK(stopped.client.ask("?") == "T05");
  still.request_stop();
  CHECK(stopped.client.receive() == "gone");
  CHECK(stopped.outcome().error().code == errc::cancelled);

  std::stop_source running;
  auto ended = start(turns, {.limits = {.stop = running.get_token()}});
  ended.client.send("c");
  running.request_stop();
  // Says why, unless it has yet to take the order to go on.
  std::string last = ended.client.receive();
  if (last == "X09") last = ended.client.receive();
  CHECK(last == "gone");
  CHECK(ended.outcome().error().code == errc::cancelled);
}

TEST_CASE("system calls wait under a debugger as long as in any call", "[gdb]") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const os::fd out(pipe[0]);
  const os::fd in(pipe[1]);
  const auto policy = virtine::policy{posix::descriptor<3>(out.get(), posix::read_only)};
  virtine_fn<void(std::span<told_call>, std::span<std::byte>), guests::calls::make_calls,
             decltype(policy)>
      calls(policy);
  told::script what;
  const auto to = what.room(16);
  what.add(SYS_read, {3, to, 16});
  what.add(SYS_read, {3, to, 16});
  auto at = start(calls, {}, std::span(what.calls), std::span(what.memory));
  at.client.send("c");
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(3 * gdb::detail::glance);
    REQUIRE(::write(in.get(), "more", 4) == 4);
  }
  CHECK(at.client.receive() == "W00");
  CHECK(at.outcome());
  CHECK(what[0] == 4);
  CHECK(what[1] == 4);
}

TEST_CASE("the debugger's socket is the user's own, and replaces nothing", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  gdb::options at{.socket = gdb_client::socket_path()};
  auto call = std::async(std::launch::async, [&] { return gdb::debug(triple, at).try_call(1); });
  struct stat found {};
  while (::stat(at.socket.c_str(), &found) != 0)
    REQUIRE(call.wait_for(std::chrono::milliseconds(5)) == std::future_status::timeout);
  CHECK((found.st_mode & 0777) == 0600);
  // Another that wants the same place.
  const auto second = gdb::debug(triple, at).try_call(1);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::os_error);
  CHECK(second.error().os_error == EADDRINUSE);
  CHECK(debugger::connect(at.socket, call).ask("D") == "OK");
  CHECK(call.get().value() == 3);
  CHECK_FALSE(std::filesystem::exists(at.socket));

  at.socket = std::string(200, 'x');
  CHECK(gdb::debug(triple, at).try_call(1).error().os_error == ENAMETOOLONG);
  CHECK(gdb::debug(triple, {}).try_call(1).error().os_error == EINVAL);
}

TEST_CASE("memory that is not the guest's is not the debugger's either", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  auto at = start(triple, {}, 1);
  const layout where = layout_of(debugged::description);
  // Tables and stubs, the guard, the trap stack and page tables, the ends of numbers.
  for (const std::uint64_t address :
       {std::uint64_t{0}, x86::tables_page, x86::trap_stub_page, where.guard, where.trap_stack,
        where.tables, where.end, UINT64_MAX, UINT64_MAX - 7}) {
    CAPTURE(address);
    CHECK(at.client.ask("m" + hex(address) + ",8") == "E01");
    CHECK(at.client.ask("M" + hex(address) + ",8:0000000000000000") == "E01");
    CHECK(at.client.ask("Z0," + hex(address) + ",1") == "E01");
  }
  // Up to where it ends, and never more than a packet holds.
  CHECK(at.client.ask("m" + hex(where.stack_top() - 2) + ",8").size() == 4);
  CHECK(at.client.ask("m" + hex(where.stack) + ",ffffffffffffffff").size() ==
        gdb::detail::max_packet);
  CHECK(at.client.ask("M" + hex(where.stack_top() - 2) + ",4:00000000") == "E01");
  // Code is in pages, and what follows it is not always there.
  CHECK(at.client.ask("m" + hex(x86::image_base) + ",ffffffff").size() <= gdb::detail::max_packet);
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome().value() == 3);
}

TEST_CASE("registers of a call that are changed, or cannot be", "[gdb]") {
  auto triple = debugged_function<int(int), debugged::triple>();
  auto at = start(triple, {}, 1);
  CHECK(at.client.ask("s") == "T05");
  // xmm3, st0, an fs base; selectors and RFLAGS.IOPL are not a debugger's to change.
  CHECK(at.client.ask("P2b=00112233445566778899aabbccddeeff") == "OK");
  CHECK(at.client.ask("P39=0010000000000000") == "OK");
  CHECK(at.client.ask("P3a=ffffffffffffffff") == "OK");
  CHECK(at.client.ask("P11=d7300000") == "OK");
  CHECK(at.client.ask("P12=08000000") == "OK");
  CHECK(at.client.ask("s") == "T05");
  CHECK(at.client.ask("p2b") == "00112233445566778899aabbccddeeff");
  CHECK(at.client.ask("p39") == "0010000000000000");
  CHECK(at.client.ask("p3a") == "0000000000000000");
  CHECK((debugger::number(at.client.ask("p11") + "00000000") & 1) == 1);
  CHECK((debugger::number(at.client.ask("p12") + "00000000")) == x86::user_code_selector);
  CHECK(at.client.ask("p3b") == "E01");
  CHECK(at.client.ask("P3b=00") == "E01");
  CHECK(at.client.ask("G00") == "E01");
  CHECK(at.client.ask("c") == "W00");
  CHECK(at.outcome().value() == 3);
}
