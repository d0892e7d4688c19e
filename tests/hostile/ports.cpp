// Attacks through I/O ports: other devices' ports, our own in other ways, forged traps.
// SPDX-License-Identifier: MIT
#include <virtine/x86/trap.hpp>

#include "hostile.hpp"

using namespace hostile;

namespace {

constexpr word done = virtine::x86::done_port;
constexpr word call = virtine::x86::hypercall_port;
constexpr word system_call = virtine::x86::system_call_port;

// The guest left by one of our ports, but not as the trampoline does. Where that was is not told in
// the same way by all hosts: RIP is at the instruction or behind it.
void expect_foul(arena& a, const char* name, word value, word port, word count = 1) {
  INFO(name << ' ' << port << ' ' << count);
  const auto ended = a.run(name, value, port, count);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == virtine::errc::guest_fault);
  CHECK(ended.error().fault.kind == fault_kind::general_protection);
  const word at = address_of(name);
  CHECK(ended.error().fault.instruction >= at);
  CHECK(ended.error().fault.instruction <= at + 2);
  CHECK(a.pool.size() == 0);
  a.expect_good();
}

}  // namespace

TEST_CASE("H21: no port but our own can be written or read", "[hostile][long]") {
  arena a;
  const word step = is_emulated() ? 7 : 1;
  const auto closed = [&](word port) {
    for (const char* name : {"out_8", "out_16", "out_32", "in_8", "in_16", "in_32"}) {
      INFO(name << ' ' << port);
      const outcome ended = seen(a.run(name, 0, port));
      CHECK(ended == fault(fault_kind::general_protection, name));
    }
  };
  // Past its 0x100 ports the bitmap has ended.
  for (word port = 0; port < 0x180; port += step) {
    const bool near_ours = port + 3 >= done && port < system_call + 4;
    if (!near_ours) closed(port);
  }
  a.expect_good();
  for (const word port : std::initializer_list<word>{0x1f0, 0x3f8, 0x510, 0x5658, 0xcf8, 0xcfc,
                                                     0x8000, 0xfffc, 0xffff}) {
    closed(port);
  }
  a.expect_good();
  // Four bytes wide, these touch ports on both sides of the limit.
  a.expect(fault(fault_kind::general_protection, "out_32"), "out_32", 0, done - 2);
  a.expect(fault(fault_kind::general_protection, "out_32"), "out_32", 0, system_call + 2);
  // The upper half of RDX does not count.
  a.expect(fault(fault_kind::general_protection, "out_32"), "out_32", 0, 0xdead00000080);
}

TEST_CASE("H22: a trap cannot be forged", "[hostile][long]") {
  arena a;
  // A forged page fault would make the host continue at an address from an old trap frame.
  for (word vector = 0; vector < virtine::x86::vector_count; ++vector) {
    const word port = virtine::x86::trap_port_base + vector;
    for (const char* name : {"out_8", "out_32"}) {
      const outcome ended = seen(a.run(name, 0, port));
      CHECK(ended == fault(fault_kind::general_protection, name));
    }
  }
  a.expect_good();
  a.expect(fetch_fault(fault_kind::execute_data, virtine::x86::trap_stub_address(14)), "jump_to",
           virtine::x86::trap_stub_address(14));
}

TEST_CASE("H23: our own ports are open in one way only", "[hostile][long]") {
  arena a;
  for (const word port : {done, call, system_call}) {
    expect_foul(a, "out_8", 0, port);
    expect_foul(a, "out_16", 0, port);
    expect_foul(a, "in_8", 0, port);
    expect_foul(a, "in_16", 0, port);
    expect_foul(a, "in_32", 0, port);
    expect_foul(a, "outs_8", 0, port, 1);
    expect_foul(a, "outs_16", 0, port, 3);
    expect_foul(a, "ins_32", 0, port, 2);
    for (word beside = 1; beside < 4; ++beside) expect_foul(a, "out_8", 0, port + beside);
  }
  expect_foul(a, "out_32", 0, done + 1);
  expect_foul(a, "out_32", 0, done + 3);
  expect_foul(a, "out_16", 0, call + 2);

  // A string of words is one `out` at a time on some hosts, and all at once on others.
  for (const word count : {word{1}, word{2}, word{1000}, word{1} << 40}) {
    INFO(count);
    const auto ended = a.run("outs_32", 0, done, count);
    if (!ended) CHECK(ended.error().fault.kind == fault_kind::general_protection);
    CHECK(a.pool.size() == (ended ? 1 : 0));
    a.expect_good();
  }
  const auto forged = a.run("outs_32", 0, call, 1);
  REQUIRE_FALSE(forged);
  CHECK((forged.error().code == virtine::errc::hypercall_denied ||
         forged.error().code == virtine::errc::guest_fault));
  a.expect_good();
}

TEST_CASE("H61: a system call is nothing but a request, and denied without a policy", "[hostile]") {
  arena a;
  for (const word number : {word{0}, word{1}, word{59}, word{0xffffffff}}) {
    const auto denied = a.run("out_32", number, system_call);
    REQUIRE_FALSE(denied);
    CHECK(denied.error().code == virtine::errc::system_call_denied);
    CHECK(denied.error().detail == number);
    CHECK(a.pool.size() == 0);
    a.expect_good();
  }
  for (const word number : {word{60}, word{231}}) {
    const auto exited = a.run("out_32", number, system_call);
    REQUIRE_FALSE(exited);
    CHECK(exited.error().code == virtine::errc::exited);
    a.expect_good();
  }
}

TEST_CASE("H24: a trap flag that is set at an exit ends the machine", "[hostile]") {
  arena a;
  const auto foul = [&](const char* name) {
    INFO(name);
    const auto ended = a.run(name);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code == virtine::errc::guest_fault);
    // The exception itself where it comes first.
    const fault_kind kind = ended.error().fault.kind;
    CHECK((kind == fault_kind::general_protection || kind == fault_kind::debug));
    CHECK(a.pool.size() == 0);
    a.expect_good();
  };
  foul("trap_flag_done");
  foul("trap_flag_call");
  // QEMU's emulation of SVM never comes back from this one: it lets its own host's interrupts wait
  // for the end of the guest's shadow.
  if (emulated_host() != "svm") foul("trap_flag_ss_done");
}

TEST_CASE("H25: leaving by an `out` of one's own is like returning", "[hostile]") {
  arena a;
  for (int round = 0; round < 3; ++round) a.expect(returned(0), "done_at_once");
}

TEST_CASE("H44: leaving by the trampoline's own `out`, in any state, is like returning",
          "[hostile]") {
  arena a;
  std::vector<word> exits;
  for (word at = virtine::x86::trampoline_page; at < virtine::x86::trampoline_page + 0x200; ++at) {
    const auto bytes = a.run("read", at);
    REQUIRE(bytes);
    if ((*bytes & 0xffff) == (0xe7 | done << 8)) exits.push_back(at);
  }
  REQUIRE_FALSE(exits.empty());
  for (const word at : exits) {
    // None, AC, NT, DF, all of them with carry, zero, sign and overflow.
    for (const word flags : std::initializer_list<word>{0x0, 0x40000, 0x4000, 0x400, 0x44cd5}) {
      a.expect(returned(0), "leave_at", at, flags);
      a.expect(returned(0), "leave_at", at, flags);
    }
    const auto trapped = a.run("leave_at", at, 0x100);
    CHECK_FALSE(trapped);
    a.expect_good();
  }
}
