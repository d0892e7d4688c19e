// Bare machines, by hand and behind functions, in every mode.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <guests/boot32.hpp>
#include <guests/boot64.hpp>
#include <guests/faults32.hpp>
#include <guests/fib16.hpp>
#include <guests/fib32.hpp>
#include <guests/fib64.hpp>
#include <guests/halves16.hpp>
#include <guests/halves32.hpp>
#include <guests/halves64.hpp>
#include <guests/kernel64.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/virtine.hpp>

#include "differences.hpp"
#include "host.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using x86::cpu_mode;
using kernel64 = guests::kernel64;
using faults32 = guests::faults32;

std::span<const std::byte> content(const image_description& image) {
  return std::as_bytes(std::span(image.segments[0].content));
}

guest_address where(const image_description& image) {
  return guest_address{image.segments[0].address};
}

// A machine by hand that has an image's code at its place.
std::unique_ptr<bare_machine> loaded(const image_description& image) {
  auto made = bare_machine::create(bare_options{.mode = image.mode, .memory = 1 << 20}).value();
  made->load(where(image), content(image)).value();
  return made;
}

kvm_regs starting_at(std::uint64_t address) {
  kvm_regs regs{};
  regs.rip = address;
  regs.rsp = bare_machine::stack_top;
  regs.rflags = x86::initial_rflags;
  return regs;
}

// Runs to an exit that writes to a port. Returns the port, and the value in `value`.
std::uint16_t run_to_port(bare_machine& m, std::uint32_t& value) {
  const kvm::exit why = m.run().value();
  INFO(kvm::name(why) << ' ' << kvm::detail_of(why));
  REQUIRE(std::holds_alternative<kvm::io_exit>(why));
  const auto& io = std::get<kvm::io_exit>(why);
  REQUIRE(io.direction == kvm::io_direction::out);
  value = 0;
  std::memcpy(&value, io.data.data(), io.size);
  return io.port;
}

template <class Image>
void check_runs(cpu_mode mode) {
  INFO(x86::name(mode));
  REQUIRE(Image::description.mode == mode);
  const auto made = loaded(Image::description);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    kvm_regs regs = starting_at(Image::halves::address);
    regs.rax = 84 * round;
    regs.rbx = 1000 * round;
    REQUIRE(made->set_registers(regs));
    std::uint32_t value = 0;
    CHECK(run_to_port(*made, value) == 0x10);
    CHECK(value == 42 * round);
    CHECK(run_to_port(*made, value) == 0x11);
    CHECK(value == 1000 * round + 1);
    const auto after = made->registers();
    REQUIRE(after.has_value());
    CHECK(after->rbx == 1000 * round);
    CHECK(std::holds_alternative<kvm::hlt_exit>(made->run().value()));
    // Behind the hlt is a loop that has no end.
    const auto stopped = made->run(20ms);
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code == errc::timed_out);
    // Where KVM shadows page tables, nothing is left of a guest whose memory was taken away.
    REQUIRE(made->reset());
  }
}

template <class Image>
void check_resets() {
  const auto made = loaded(Image::description);
  std::uint32_t value = 0;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(made->set_registers(starting_at(Image::counts::address)));
    CHECK(run_to_port(*made, value) == 0x10);
    CHECK(value == static_cast<std::uint32_t>(i));
  }
  // A guest that halts for ever gives the host its turn each time.
  for (int i = 0; i < 5; ++i) {
    CHECK(std::holds_alternative<kvm::hlt_exit>(made->run().value()));
  }
  REQUIRE(made->reset());
  CHECK(made->registers().value().rip == 0);
  REQUIRE(made->set_registers(starting_at(Image::counts::address)));
  CHECK(run_to_port(*made, value) == 0x10);
  CHECK(value == 0);
}

int fib(int n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

template <class Entry>
void check_fib() {
  pool<typename detail::entry_of<Entry>::type::image> machines;
  virtine_fn<int(int), Entry> in_guest(machines);
  for (const int n : {0, 1, 2, 10, 3, 10}) {
    INFO("fib(" << n << ')');
    const auto got = in_guest.try_call(n);
    INFO((got ? std::string() : to_string(got.error())));
    REQUIRE(got.has_value());
    CHECK(*got == fib(n));
  }
  CHECK(machines.size() == 1);
}

// A file that is removed at the end.
struct temporary_file {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("virtine-bare-" + std::to_string(::getpid()));
  ~temporary_file() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

// What kernel64's look reports.
constexpr std::uint64_t report_at = 0xa000;
constexpr std::size_t report_size = 0x2000;

// Runs kernel64 from `entry`, as the machine's registers are otherwise, to its end; returns whether
// it got there.
bool runs_from(bare_machine& m, std::uint64_t entry) {
  kvm_regs regs = m.registers().value();
  regs.rip = entry;
  regs.rdi = report_at;
  REQUIRE(m.set_registers(regs));
  const auto why = m.run();
  REQUIRE(why.has_value());
  const auto* io = std::get_if<kvm::io_exit>(&*why);
  return io != nullptr && io->port == 0x10;
}

// Returns all that kernel64 finds.
std::vector<std::byte> look(bare_machine& m, bool wide) {
  REQUIRE(runs_from(m, kernel64::look::address));
  if (wide) REQUIRE(runs_from(m, kernel64::look_wide::address));
  const auto seen = m.memory().view(guest_address{report_at}, report_size).value();
  return {seen.begin(), seen.end()};
}

}  // namespace

TEST_CASE("bare machines run code that was loaded by hand", "[bare]") {
  check_runs<guests::halves16>(cpu_mode::real16);
  check_runs<guests::halves32>(cpu_mode::protected32);
  check_runs<guests::halves64>(cpu_mode::long64);
}

TEST_CASE("reset takes memory and registers back", "[bare]") {
  check_resets<guests::halves16>();
  check_resets<guests::halves32>();
  check_resets<guests::halves64>();
}

TEST_CASE("a file is loaded like bytes", "[bare]") {
  const auto& image = guests::halves32::description;
  const auto made = bare_machine::create(bare_options{.mode = image.mode}).value();
  temporary_file file;
  std::ofstream(file.path, std::ios::binary) << image.segments[0].content;
  REQUIRE(made->load_file(where(image), file.path));
  REQUIRE(made->set_registers(starting_at(guests::halves32::counts::address)));
  std::uint32_t value = 99;
  CHECK(run_to_port(*made, value) == 0x10);
  CHECK(value == 0);

  // One that does not fit changes nothing.
  const std::uint64_t end = made->memory().size();
  const auto refused =
      made->load_file(guest_address{end - image.segments[0].content.size() + 1}, file.path);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::out_of_range);
  CHECK(made->memory().read<std::uint64_t>(guest_address{end - 8}).value() == 0);

  const auto missing = made->load_file(guest_address{0}, file.path.string() + "-none");
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == errc::os_error);
  CHECK(missing.error().os_error == ENOENT);
}

TEST_CASE("a directory is not a file to load", "[bare]") {
  const auto made = bare_machine::create(bare_options{}).value();
  const auto refused = made->load_file(guest_address{0x9000}, "/proc");
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::os_error);
}

TEST_CASE("loads and views stay within the memory", "[bare]") {
  const auto made = bare_machine::create(bare_options{.memory = 64 * 1024}).value();
  const std::array<std::byte, 16> data{std::byte{1}};
  CHECK(made->memory().size() == 64 * 1024);
  CHECK(to_number(made->memory().begin()) == 0);
  CHECK(made->load(guest_address{64 * 1024 - 16}, data).has_value());
  for (const std::uint64_t at : {std::uint64_t{64 * 1024 - 15}, std::uint64_t{64 * 1024},
                                 UINT64_MAX - 15, UINT64_MAX - 7, UINT64_MAX}) {
    INFO(at);
    CHECK(made->load(guest_address{at}, data).error().code == errc::out_of_range);
    CHECK(made->write(guest_address{at}, data).error().code == errc::out_of_range);
    CHECK(made->read(guest_address{at}, 16).error().code == errc::out_of_range);
  }
  CHECK(made->read(guest_address{1}, UINT64_MAX).error().code == errc::out_of_range);

  // The host writes to the guest's memory by a view of it.
  auto view = made->memory().view(guest_address{0x9000}, 4).value();
  view[2] = std::byte{7};
  CHECK(made->memory().read<std::uint32_t>(guest_address{0x9000}).value() == 0x70000);
}

TEST_CASE("a bare machine is not made with options that make none", "[bare]") {
  for (const bare_options& wrong :
       {bare_options{.mode = cpu_mode::user64}, bare_options{.memory = 0},
        bare_options{.memory = 16 * 1024}, bare_options{.memory = 64 * 1024 + 1}}) {
    const auto refused = bare_machine::create(wrong);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::out_of_range);
  }
  CHECK(bare_machine::create(bare_options{.memory = 32 * 1024}).has_value());
}

TEST_CASE("reset takes back every state that CPL 0 can change", "[bare]") {
  struct change {
    const char* name;
    std::uint64_t entry;
    bool shows;  // In the report, if nothing is reset.
  };
  const std::array<change, 15> changes{{
      {"memory", kernel64::soil_memory::address, false},  // It destroys the code of look.
      {"registers", kernel64::soil_registers::address, true},
      {"debug registers", kernel64::soil_debug::address, true},
      {"breakpoints", kernel64::soil_breakpoints::address, true},
      {"bases", kernel64::soil_bases::address, true},
      {"selectors", kernel64::soil_selectors::address, true},
      {"descriptor tables", kernel64::soil_tables::address, true},
      {"control registers", kernel64::soil_control::address, true},
      {"CR8", kernel64::soil_priority::address, true},
      {"EFER", kernel64::soil_efer::address, true},
      {"x87 and XMM", kernel64::soil_vectors::address, true},
      {"YMM and more", kernel64::soil_wide::address, false},  // There may be none.
      {"XCR0", kernel64::soil_xcr0::address, false},
      {"triple fault", kernel64::triple_fault::address, false},
      {"store outside", kernel64::store_outside::address, false},
  }};
  // Not every KVM runs every instruction at CPL 0.
  const bool wide = runs_from(*loaded(kernel64::description), kernel64::look_wide::address);
  const auto clean = look(*loaded(kernel64::description), wide);
  const auto made = loaded(kernel64::description);
  CHECK(differences(look(*made, wide), clean) == "");
  const bool in_qemu = emulated_host() == "svm";
  for (const change& each : changes) {
    INFO(each.name);
    // QEMU loses count of a nested guest's breakpoints, and ends.
    if (in_qemu && each.entry == kernel64::soil_breakpoints::address) continue;
    REQUIRE(made->reset());
    const bool reached = runs_from(*made, each.entry);
    if (each.shows) {
      CHECK(reached);
      CHECK(differences(look(*made, wide), clean) != "");
      // Once more, so that look itself does not tidy up.
      REQUIRE(made->reset());
      CHECK(runs_from(*made, each.entry));
    }
    REQUIRE(made->reset());
    CHECK(differences(look(*made, wide), clean) == "");
  }
}

TEST_CASE("functions of bare images, with and without boot code", "[bare][own_vm]") {
  SECTION("real16") {
    check_fib<guests::fib16>();
  }
  SECTION("protected32") {
    check_fib<guests::fib32>();
  }
  SECTION("long64") {
    check_fib<guests::fib64>();
  }
  SECTION("from real mode to protected32") {
    check_fib<guests::boot32>();
  }
  SECTION("from real mode to long64") {
    check_fib<guests::boot64>();
  }
}

TEST_CASE("a bare guest's fault ends its call and no other", "[bare][own_vm]") {
  pool<faults32> machines({.max = 1});
  virtine_fn<int(int), faults32::fault_on_zero> fault_on_zero(machines);
  for (int i = 1; i < 4; ++i) {
    CHECK(fault_on_zero(i) == i + 1);
    const auto fault = fault_on_zero.try_call(0);
    REQUIRE_FALSE(fault.has_value());
    CHECK(fault.error().code == errc::guest_fault);
    CHECK(fault.error().fault.kind == fault_kind::triple_fault);
    CHECK(machines.size() == 0);
  }
  CHECK(fault_on_zero(41) == 42);
}

TEST_CASE("a bare guest reaches no MSR, port or memory but its own", "[bare][long][own_vm]") {
  pool<faults32> machines;
  virtine_fn<int(int), faults32::write_msr> write_msr(machines);
  virtine_fn<int(int), faults32::read_msr> read_msr(machines);
  virtine_fn<int(int), faults32::foreign_port> foreign_port(machines);
  virtine_fn<int(int), faults32::beyond> beyond(machines);
  virtine_fn<int(int), faults32::fault_on_zero> good(machines);

  constexpr auto number = [](std::uint32_t msr) { return static_cast<int>(msr); };
  for (const std::uint32_t open : {0xc0000100u, 0xc0000101u}) {  // FS and GS base.
    INFO(std::hex << open);
    CHECK(write_msr(number(open)) == 1);
    CHECK(read_msr(number(open)) == 1);
  }
  // STAR, LSTAR, FMASK, kernel GS base, TSC_AUX, SYSENTER_CS, TSC, APIC base, PAT, debug control,
  // KVM's wall clock and system time, and one that does not exist.
  for (const std::uint32_t closed :
       {0xc0000081u, 0xc0000082u, 0xc0000084u, 0xc0000102u, 0xc0000103u, 0x174u, 0x10u, 0x1bu,
        0x277u, 0x1d9u, 0x11u, 0x12u, 0x4b564d00u, 0x4b564d01u, 0x4b564d02u, 0x12345678u}) {
    INFO(std::hex << closed);
    for (auto* call : {&write_msr, static_cast<decltype(&write_msr)>(nullptr)}) {
      if (call == nullptr) continue;
      const auto fault = call->try_call(number(closed));
      REQUIRE_FALSE(fault.has_value());
      CHECK(fault.error().code == errc::guest_fault);
    }
    CHECK(read_msr.try_call(number(closed)).error().code == errc::guest_fault);
    CHECK(good(1) == 2);
  }

  const auto port = foreign_port.try_call(0);
  REQUIRE_FALSE(port.has_value());
  CHECK(port.error().code == errc::guest_fault);
  CHECK(port.error().fault.kind == fault_kind::general_protection);
  CHECK(port.error().detail == 0x20);
  const auto outside = beyond.try_call(0x40000000);
  REQUIRE_FALSE(outside.has_value());
  CHECK(outside.error().code == errc::guest_fault);
  CHECK(outside.error().fault.kind == fault_kind::unmapped_access);
  CHECK(outside.error().fault.address == 0x40000000);
  CHECK(good(2) == 3);
}

TEST_CASE("a bare guest that never ends is stopped", "[bare][own_vm]") {
  pool<faults32> machines({.max = 1});
  virtine_fn<int(int), faults32::loop_for_ever> loop(machines);
  virtine_fn<int(int), faults32::fault_on_zero> good(machines);
  for (int i = 1; i < 3; ++i) {
    const auto stopped = loop.with({.timeout = 20ms}).try_call(0);
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code == errc::timed_out);
    CHECK(good(i) == i + 1);
  }
}
