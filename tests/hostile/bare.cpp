// Attacks of a guest at CPL 0, which owns its machine and nothing else.
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <span>
#include <variant>

#include <guests/bare_attacker.hpp>
#include <virtine/bare_machine.hpp>

#include "hostile.hpp"

using hostile::emulated_host;
using virtine::errc;
using virtine::fault_kind;
using namespace std::chrono_literals;

namespace {

using bare_image = guests::bare_attacker;

constexpr unsigned break_next = 11;

// QEMU's emulation of SVM keeps the breakpoints that a guest sets when VMRUN loads other debug
// registers; they then stop its own host.
bool can_set_breakpoints() {
  return emulated_host() != "svm";
}

struct bare_arena {
  virtine::pool<bare_image> pool;
  virtine::virtine_fn<unsigned(unsigned), bare_image::attack> attack{pool};
  virtine::virtine_fn<unsigned(unsigned, unsigned), bare_image::good> good{pool};

  virtine::result<unsigned> run(unsigned number) {
    return attack.with({.timeout = 50ms}).try_call(number);
  }
  void expect_good() {
    const auto product = good.try_call(6, 7);
    INFO(to_string(product ? virtine::error{} : product.why()));
    REQUIRE(product);
    CHECK(*product == 42);
  }
};

}  // namespace

TEST_CASE("H40: a bare guest that ruins its machine ruins no other call", "[hostile]") {
  bare_arena a;
  a.expect_good();
  // Whether a processor without tables, paging or long mode comes as far as its `out` depends on
  // the host; whatever it does, it is the guest that did it.
  for (unsigned number = 0; number < 16; ++number) {
    INFO("attack " << number);
    if (number == break_next && !can_set_breakpoints()) continue;
    const auto ended = a.run(number);
    if (!ended) {
      INFO(to_string(ended.why()));
      // KVM refuses some states in ways that only it can tell.
      const errc code = ended.why().code;
      const bool known = code == errc::guest_fault || code == errc::timed_out ||
                         code == errc::hypercall_denied || code == errc::machine_failure;
      CHECK(known);
    } else {
      CHECK(*ended != 0xbad);
    }
    CHECK(a.pool.size() == (ended ? 1 : 0));
    a.expect_good();
  }
}

TEST_CASE("H41: what a bare guest does wrong is told from what its host does", "[hostile]") {
  bare_arena a;
  const auto fault_of = [&](unsigned number) {
    const auto ended = a.run(number);
    REQUIRE_FALSE(ended);
    INFO(to_string(ended.why()));
    CHECK(ended.why().code == errc::guest_fault);
    a.expect_good();
    return ended.why().fault;
  };
  // INT3 without a descriptor table: a KVM that runs CPL 0 by its emulator does not know it, and
  // one on emulated SVM delivers it for ever, which the deadline ends.
  const auto unhandled = a.run(2);
  REQUIRE_FALSE(unhandled);
  const fault_kind kind = unhandled.why().fault.kind;
  CHECK((unhandled.why().code == errc::timed_out || kind == fault_kind::triple_fault ||
         kind == fault_kind::other));
  a.expect_good();
  CHECK(fault_of(7).kind == fault_kind::unmapped_access);
  CHECK(fault_of(7).address == 0x180000);
  CHECK(fault_of(8).kind == fault_kind::general_protection);
  CHECK(fault_of(9).kind == fault_kind::general_protection);
  CHECK(fault_of(12).kind == fault_kind::triple_fault);
  CHECK(fault_of(13).kind == fault_kind::triple_fault);
  const auto denied = a.run(10);
  REQUIRE_FALSE(denied);
  CHECK(denied.why().code == errc::hypercall_denied);
  CHECK(denied.why().detail == 1);
  const auto stuck = a.run(5);
  REQUIRE_FALSE(stuck);
  CHECK(stuck.why().code == errc::timed_out);
  a.expect_good();
}

TEST_CASE("H42: a breakpoint that a bare guest sets does not stop the next call", "[hostile]") {
  if (!can_set_breakpoints()) return;
  bare_arena a;
  REQUIRE(a.run(break_next));
  CHECK(a.pool.size() == 1);
  for (int round = 0; round < 3; ++round) a.expect_good();
}

TEST_CASE("H47: the second half of a store is not made by the next run", "[hostile]") {
  auto made = virtine::bare_machine::create(virtine::bare_options{.memory = 64 * 1024});
  REQUIRE(made);
  virtine::bare_machine& m = **made;
  constexpr std::array<unsigned char, 2> leave{0xe6, 0x10};  // out 0x10, al
  constexpr std::array<unsigned char, 8> store{0x0f, 0x11, 0x04, 0x25,
                                               0x00, 0x00, 0x18, 0x00};  // movups [0x180000], xmm0
  REQUIRE(m.load(virtine::guest_address{0}, std::as_bytes(std::span(leave))));
  REQUIRE(m.load(virtine::guest_address{0x9000}, std::as_bytes(std::span(store))));
  kvm_regs regs{};
  regs.rip = 0x9000;
  regs.rflags = 2;
  REQUIRE(m.set_registers(regs));
  const auto half = m.run();
  REQUIRE(half);
  REQUIRE(std::holds_alternative<virtine::kvm::mmio_exit>(*half));
  REQUIRE(m.reset());
  const auto next = m.run();
  REQUIRE(next);
  REQUIRE(std::holds_alternative<virtine::kvm::io_exit>(*next));
  CHECK(std::get<virtine::kvm::io_exit>(*next).port == 0x10);
}
