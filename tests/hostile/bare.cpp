// Attacks of a guest at CPL 0, which owns its machine and nothing else.
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include <guests/bare_attacker.hpp>
#include <guests/bare_exits16.hpp>
#include <guests/bare_exits32.hpp>
#include <guests/bare_exits64.hpp>
#include <guests/bare_maps.hpp>
#include <virtine/bare_machine.hpp>

#include "hostile.hpp"

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
  explicit bare_arena(virtine::pool_options options = {}) : pool(options) {}
  virtine::virtine_fn<unsigned(unsigned), bare_image::attack> attack{pool};
  virtine::virtine_fn<unsigned(unsigned, unsigned), bare_image::good> good{pool};

  virtine::result<unsigned> run(unsigned number) {
    const bool has_no_end = number == 5 || number == 2;
    return attack.with({.timeout = has_no_end ? 50ms : 5000ms}).try_call(number);
  }
  void expect_good() {
    const auto product = good.try_call(6, 7);
    INFO(to_string(product ? virtine::error{} : product.error()));
    REQUIRE(product);
    CHECK(*product == 42);
  }
};

// A machine by hand of 64 KiB that holds an image, and at 0, where it starts, `out 0x10, al`.
struct driven {
  static constexpr const char* endless = "no end";

  const virtine::image_description& image;
  std::unique_ptr<virtine::bare_machine> machine;

  explicit driven(const virtine::image_description& its) : image(its) {
    using virtine::guest_address;
    machine = virtine::bare_machine::create(
                  virtine::bare_options{.mode = image.mode, .memory = 64 * 1024})
                  .value();
    constexpr std::array<unsigned char, 3> leave{0xe6, 0x10, 0xf4};  // out 0x10, al; hlt
    machine->load(guest_address{0}, std::as_bytes(std::span(leave))).value();
    for (const virtine::segment& s : image.segments) {
      machine->load(guest_address{s.address}, std::as_bytes(std::span(s.content))).value();
    }
  }

  // Runs from `address` and says how that ended.
  std::string run(std::uint64_t address, std::chrono::nanoseconds limit = 10s) {
    kvm_regs regs{};
    regs.rip = address;
    regs.rsp = virtine::bare_machine::stack_top - 16;
    regs.rflags = virtine::x86::initial_rflags;
    if (auto set = machine->set_registers(regs); !set) return to_string(set.error());
    const auto ended = machine->run(limit);
    if (!ended) return ended.error().code == errc::timed_out ? endless : to_string(ended.error());
    return std::string(virtine::kvm::name(*ended)) + ' ' +
           std::to_string(virtine::kvm::detail_of(*ended));
  }

  [[nodiscard]] std::vector<std::byte> memory() const {
    const auto all = machine->memory();
    const auto bytes = all.view(all.begin(), all.size()).value();
    return {bytes.begin(), bytes.end()};
  }

  // Demands that the next run begins at 0, with registers of a new machine.
  void expect_new() {
    const auto next = machine->run();
    INFO((next ? std::string(virtine::kvm::name(*next)) : to_string(next.error())));
    REQUIRE(next);
    const auto* io = std::get_if<virtine::kvm::io_exit>(&*next);
    REQUIRE(io != nullptr);
    CHECK(io->port == 0x10);
    kvm_regs regs = machine->registers().value();
    CHECK(regs.rip <= 2);  // Before or behind it.
    CHECK((regs.rflags & ~virtine::x86::rflags_rf) == virtine::x86::initial_rflags);
    regs.rip = regs.rflags = 0;
    const kvm_regs none{};
    CHECK(std::equal(&regs.rax, &regs.rflags, &none.rax));
  }
};

void check_exits(const virtine::image_description& image) {
  INFO(virtine::x86::name(image.mode));
  driven one(image);
  const std::vector<std::byte> pristine = one.memory();
  one.expect_new();
  for (const virtine::symbol& each : image.symbols) {
    INFO(each.name);
    // The second time from where KVM still had the first. Some have no end on some hosts.
    std::array<std::string, 2> ended;
    for (std::string& one_time : ended) {
      REQUIRE(one.machine->reset());
      one_time = one.run(each.address, 50ms);
    }
    const bool ends = ended[0] != driven::endless && ended[1] != driven::endless;
    if (ends) CHECK(ended[1] == ended[0]);
    REQUIRE(one.machine->reset());
    const bool same = one.memory() == pristine;
    CHECK(same);
    one.expect_new();
  }
}

}  // namespace

TEST_CASE("H40: a bare guest that ruins its machine ruins no other call", "[hostile][own_vm]") {
  bare_arena a;
  a.expect_good();
  // Whether a processor without tables, paging or long mode comes as far as its `out` depends on
  // the host; whatever it does, it is the guest that did it.
  for (unsigned number = 0; number < 16; ++number) {
    INFO("attack " << number);
    if (number == break_next && !can_set_breakpoints()) continue;
    const auto ended = a.run(number);
    if (!ended) {
      INFO(to_string(ended.error()));
      // KVM refuses some states in ways that only it can tell.
      const errc code = ended.error().code;
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

TEST_CASE("H41: what a bare guest does wrong is told from what its host does",
          "[hostile][own_vm]") {
  bare_arena a;
  const auto fault_of = [&](unsigned number) {
    const auto ended = a.run(number);
    REQUIRE_FALSE(ended);
    INFO(to_string(ended.error()));
    CHECK(ended.error().code == errc::guest_fault);
    a.expect_good();
    return ended.error().fault;
  };
  // INT3 without a descriptor table: a KVM that runs CPL 0 by its emulator does not know it, and
  // one on emulated SVM delivers it for ever, which the deadline ends.
  const auto unhandled = a.run(2);
  REQUIRE_FALSE(unhandled);
  const fault_kind kind = unhandled.error().fault.kind;
  CHECK((unhandled.error().code == errc::timed_out || kind == fault_kind::triple_fault ||
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
  CHECK(denied.error().code == errc::hypercall_denied);
  CHECK(denied.error().detail == 1);
  const auto stuck = a.run(5);
  REQUIRE_FALSE(stuck);
  CHECK(stuck.error().code == errc::timed_out);
  a.expect_good();
}

TEST_CASE("H42: a breakpoint that a bare guest sets does not stop the next call",
          "[hostile][own_vm]") {
  if (!can_set_breakpoints()) return;
  bare_arena a;
  REQUIRE(a.run(break_next));
  CHECK(a.pool.size() == 1);
  for (int round = 0; round < 3; ++round) a.expect_good();
}

TEST_CASE("H47: the second half of a store is not made by the next run", "[hostile][own_vm]") {
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

TEST_CASE("H80: a bare machine keeps no argument of any call", "[hostile][long][own_vm]") {
  using virtine::cleaning;
  const virtine::pool_options options =
      GENERATE(virtine::pool_options{.max = 1}, virtine::pool_options{.max = 1, .warm = 1},
               virtine::pool_options{.max = 1, .cleaning = cleaning::in_background});
  bare_arena a(options);
  virtine::virtine_fn<unsigned(std::span<const unsigned>), bare_image::take> take(a.pool);
  virtine::virtine_fn<unsigned(unsigned), bare_image::left> left(a.pool);
  const std::vector<unsigned> secret(1000, 0x5ec4e7);
  const std::array jobs{std::tuple(std::span<const unsigned>(secret)),
                        std::tuple(std::span<const unsigned>(secret))};
  const std::array nothing{std::tuple(0u), std::tuple(0u)};
  // The first call of all is the one whose arguments were kept.
  for (int form = 0; form < 4; ++form) {
    INFO("form " << form);
    a.pool.trim(0);
    for (int round = 0; round < 2; ++round) {
      switch (form) {
        case 0:
          CHECK(take(secret) == 0x5ec4e7);
          break;
        case 1:
          REQUIRE(take.try_call(secret));
          break;
        case 2:
          for (const auto& each : take.each(jobs)) REQUIRE(each);
          break;
        default:
          CHECK(take.async(secret).get() == 0x5ec4e7);
      }
      CHECK(left(0) == 0);
      for (const auto& each : left.each(nothing)) CHECK(each.value() == 0);
      CHECK(left.async(0).get() == 0);
      a.expect_good();
    }
    CHECK(a.pool.size() == 1);
  }
  // A machine of an image, by hand.
  const auto made = virtine::bare_machine::create(bare_image::description).value();
  const auto all = made->memory();
  const auto before = all.view(all.begin(), all.size()).value();
  const std::vector<std::byte> pristine(before.begin(), before.end());
  std::ranges::fill(made->arguments(), std::byte{0x5e});
  REQUIRE(made->enter(bare_image::left::address, {}));
  made->restore(0);
  const auto after = all.view(all.begin(), all.size()).value();
  CHECK(std::ranges::equal(after, pristine));
}

TEST_CASE("H81: the run after a reset begins where the host says, whatever was left half done",
          "[hostile][long][own_vm]") {
  SECTION("real16") {
    check_exits(guests::bare_exits16::description);
  }
  SECTION("protected32") {
    check_exits(guests::bare_exits32::description);
  }
  SECTION("long64") {
    check_exits(guests::bare_exits64::description);
  }
}

TEST_CASE("H82: what a bare guest maps is not mapped for the next", "[hostile][own_vm]") {
  using maps = guests::bare_maps;
  // Where KVM shadows page tables it sees the guest write to them, but not the host.
  driven one(maps::description);
  const std::string wrong = "KVM_EXIT_SHUTDOWN 0";
  for (int round = 0; round < 2; ++round) {
    REQUIRE(one.machine->reset());
    CHECK(one.run(maps::find::address) == wrong);
    REQUIRE(one.machine->reset());
    CHECK(one.run(maps::find_as_user::address) == wrong);
    REQUIRE(one.machine->reset());
    CHECK(one.run(maps::map::address) == "KVM_EXIT_IO 17");
    REQUIRE(one.machine->reset());
    CHECK(one.run(maps::find::address) == wrong);
    REQUIRE(one.machine->reset());
    CHECK(one.run(maps::map_as_user::address) == "KVM_EXIT_MMIO 131072");
    REQUIRE(one.machine->reset());
    CHECK(one.run(maps::find_as_user::address) == wrong);
    REQUIRE(one.machine->reset());
    one.expect_new();
  }
}

TEST_CASE("H83: a bare guest does not become a host, and reaches no APIC", "[hostile][own_vm]") {
  bare_arena a;
  virtine::virtine_fn<unsigned(unsigned), bare_image::virtualise> virtualise(a.pool);
  virtine::virtine_fn<unsigned(unsigned, unsigned), bare_image::msr> msr(a.pool);
  // SVME, VMXE, VMRUN, VMLOAD, VMSAVE, STGI, CLGI, VMXON, VMPTRLD, INVEPT. The processor itself may
  // execute the four in the middle, for which KVM then makes no exit; a reset undoes them.
  for (unsigned which = 0; which < 10; ++which) {
    INFO(which);
    const auto done = virtualise.with({.timeout = 10s}).try_call(which);
    const bool may_be = which >= 3 && which <= 6;
    INFO((done ? "done" : to_string(done.error())));
    CHECK((done ? may_be : done.error().code == errc::guest_fault));
    a.expect_good();
  }
  // The filter of MSRs does not cover these.
  const unsigned step = is_emulated() ? 15 : 1;
  for (unsigned index = 0x800; index < 0x900; index += step) {
    INFO("x2APIC " << index);
    CHECK_FALSE(msr.try_call(index, index % 2));
  }
  a.expect_good();
}

TEST_CASE("H84: KVM's own hypercalls give a bare guest no more than the time, and leave nothing",
          "[hostile][long][own_vm]") {
  bare_arena a;
  virtine::virtine_fn<unsigned(unsigned), bare_image::kvm> kvm(a.pool);
  // It writes what time it is where the guest says, and nothing turns it off.
  constexpr unsigned clock_pairing = 9;
  for (unsigned number = 0; number < 16; ++number) {
    INFO(number);
    const auto changed = kvm.with({.timeout = 100ms}).try_call(number);
    if (changed && number != clock_pairing) CHECK(*changed == 0);
    a.expect_good();
  }
}
