// Drives a machine by hand: loads code, runs from exit to exit, looks at registers and memory.
// Run: build/examples/by_hand build/examples/by_hand.bin
// SPDX-License-Identifier: MIT
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <variant>

#include <guests/boot32.hpp>
#include <guests/boot64.hpp>
#include <guests/fib16.hpp>
#include <guests/fib32.hpp>
#include <guests/fib64.hpp>
#include <virtine/bare_machine.hpp>
#include <virtine/virtine.hpp>

namespace {

using virtine::guest_address;

constexpr guest_address code{0x8000};
constexpr guest_address number{0x2000};

void run(const char* file) {
  auto machine =
      virtine::bare_machine::create({.mode = virtine::x86::cpu_mode::real16, .memory = 0x10000})
          .value();

  // What is loaded before the first run is what reset() goes back to.
  constexpr std::array forty{std::byte{40}, std::byte{0}};
  machine->load(number, forty).value();
  machine->load_file(code, file).value();

  kvm_regs registers{};
  registers.rip = virtine::to_number(code);
  registers.rax = 2;
  registers.rflags = virtine::x86::initial_rflags;
  machine->set_registers(registers).value();

  virtine::kvm::exit exit = machine->run().value();
  if (const auto* io = std::get_if<virtine::kvm::io_exit>(&exit)) {
    const unsigned written = static_cast<unsigned>(io->data[0]) | static_cast<unsigned>(io->data[1])
                                                                      << 8;
    std::printf("out to port 0x%x: %u\n", unsigned{io->port}, written);
  }
  exit = machine->run().value();
  std::printf("%s, ax = %llu\n", virtine::kvm::name(exit), machine->registers().value().rax);
  std::printf("memory: %u\n", unsigned{machine->memory().read<std::uint16_t>(number).value()});

  machine->reset().value();
  std::printf("after reset: %u, ax = %llu\n",
              unsigned{machine->memory().read<std::uint16_t>(number).value()},
              machine->registers().value().rax);

  // Bare images are called as compiled functions are, whatever mode they are for; those with boot
  // code find their way there from real mode by themselves.
  virtine::virtine_fn<int(int), guests::fib16> fib16;
  virtine::virtine_fn<int(int), guests::fib32> fib32;
  virtine::virtine_fn<int(int), guests::fib64> fib64;
  virtine::virtine_fn<int(int), guests::boot32> boot32;
  virtine::virtine_fn<int(int), guests::boot64> boot64;
  std::printf("fib(9): 16 bits %d, 32 bits %d, 64 bits %d\n", fib16(9), fib32(9), fib64(9));
  std::printf("fib(9) after booting: 32 bits %d, 64 bits %d\n", boot32(9), boot64(9));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s by_hand.bin\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1]);
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// out to port 0x10: 42
// KVM_EXIT_HLT, ax = 42
// memory: 42
// after reset: 40, ax = 0
// fib(9): 16 bits 34, 32 bits 34, 64 bits 34
// fib(9) after booting: 32 bits 34, 64 bits 34
