// What each step from real mode to long mode takes (the virtines paper's Table 1), by the guest's
// own time-stamp counter, on a new machine each time. Needs guests/boot.asm as a flat binary.
// SPDX-License-Identifier: MIT
#include <x86intrin.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include <virtine/bare_machine.hpp>

#include "floor_exit.hpp"
#include "harness.hpp"

namespace {

using virtine::guest_address;

// What guests/boot.asm says.
constexpr guest_address code{0x8000};
constexpr std::uint64_t stamps = 0x7000;
constexpr unsigned end_port = 0x10;

/// Boots a new machine. Returns it, with the times in its memory.
std::unique_ptr<virtine::bare_machine> boot() {
  auto machine =
      virtine::bare_machine::create({.mode = virtine::x86::cpu_mode::real16, .memory = 0x10000});
  bench::check(machine.has_value() && (*machine)->load_file(code, BOOT_BINARY).has_value(),
               "a bare machine");
  kvm_regs registers{};
  registers.rip = virtine::to_number(code);
  registers.rflags = virtine::x86::initial_rflags;
  bench::check((*machine)->set_registers(registers).has_value(), "set_registers");
  const auto exit = (*machine)->run();
  bench::check(exit.has_value(), "the guest boots");
  const auto* io = std::get_if<virtine::kvm::io_exit>(&*exit);
  bench::check(io != nullptr && io->port == end_port, "the guest reaches long mode");
  return *std::move(machine);
}

double cycles_between(const virtine::bare_machine& machine, unsigned from, unsigned to) {
  const auto at = [&](unsigned number) {
    return machine.memory().read<std::uint64_t>(guest_address{stamps + 8 * number}).value();
  };
  return static_cast<double>(at(to) - at(from));
}

void measure(bench::program& program) {
  const bench::floor_exit exit;
  bench::group rows({.samples = 200, .burst = 1, .unit = "cycles"});
  rows.floor("boot.exit", [&] {
    const auto begin = __rdtsc();
    exit();
    return static_cast<double>(__rdtsc() - begin);
  });
  const auto add = [&](const std::string& name, unsigned from, unsigned to) {
    rows.row("boot." + name, [=] { return cycles_between(*boot(), from, to); });
  };
  add("first", 0, 1);
  add("gdt32", 1, 2);
  add("protect", 2, 3);
  add("jump32", 3, 4);
  add("segments", 4, 5);
  add("paging", 5, 6);
  add("gdt64", 6, 7);
  add("jump64", 7, 8);
  add("total", 0, 8);
  program.measure(std::move(rows));
}

}  // namespace

int main(int argc, char** argv) {
  bench::require_kvm();
  bench::program program("boot", argc, argv);
  measure(program);
  return program.finish();
}
