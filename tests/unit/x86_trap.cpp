// Trap stubs and exception frames.
// SPDX-License-Identifier: MIT
#include <virtine/x86/trap.hpp>

#include <string>

#include "catch.hpp"
#include "x86_assembled.hpp"

namespace x86 = virtine::x86;

namespace {
/// The last bytes of a trap stack as the processor leaves them.
std::array<std::byte, x86::trap_frame_size> pushed(std::uint64_t below, std::uint64_t rip,
                                                   std::uint64_t cs, std::uint64_t rflags,
                                                   std::uint64_t rsp, std::uint64_t ss) {
  std::array<std::byte, x86::trap_frame_size> bytes{};
  std::size_t at = 0;
  for (auto word : {below, rip, cs, rflags, rsp, ss}) {
    x86::store(bytes, at, word);
    at += 8;
  }
  return bytes;
}
}  // namespace

TEST_CASE("the trap stubs are what the assembler makes of them", "[x86]") {
  check_assembled("VIRTINE_TRAP_STUBS_BIN", x86::trap_stubs);
}

TEST_CASE("a frame with an error code", "[x86]") {
  const auto stack = pushed(0x6, 0x20010, 0x33, 0x13202, 0x7fff8, 0x2b);
  const auto frame = x86::decode_trap_frame(stack, x86::exception_vector::page_fault);
  CHECK(frame == x86::trap_frame{0x6, 0x20010, 0x33, 0x13202, 0x7fff8, 0x2b});
  CHECK(frame.error_code == (x86::page_fault_write | x86::page_fault_user));
  CHECK(x86::from_user(frame));
}

TEST_CASE("without an error code, what lies below the frame is not one", "[x86]") {
  const auto stack = pushed(0xdead, 0x20010, 0x33, 0x10202, 0x7fff8, 0x2b);
  const auto frame = x86::decode_trap_frame(stack, x86::exception_vector::invalid_opcode);
  CHECK(frame == x86::trap_frame{0, 0x20010, 0x33, 0x10202, 0x7fff8, 0x2b});
}

TEST_CASE("a frame from the stubs themselves is not the user's", "[x86]") {
  const auto stack = pushed(0, 0x11002, 0x08, 0x10002, 0x90000, 0);
  CHECK_FALSE(x86::from_user(x86::decode_trap_frame(stack, 6)));
  const auto compat = pushed(0, 0x20000, 0x23, 0x10002, 0x90000, 0x2b);
  CHECK_FALSE(x86::from_user(x86::decode_trap_frame(compat, 6)));
}

TEST_CASE("a frame with another stack segment is the user's", "[x86]") {
  const auto stack = pushed(7, 0x20000, 0x33, 0x10202, 0x90000, 0x33);
  CHECK(x86::from_user(x86::decode_trap_frame(stack, x86::exception_vector::page_fault)));
}

TEST_CASE("the flags to resume with", "[x86]") {
  x86::trap_frame frame;
  frame.rflags = 0x10046;  // RF ZF PF, IOPL and IF stripped
  CHECK(x86::resume_rflags(frame) == 0x246);
  frame.rflags = ~std::uint64_t{0};
  CHECK(x86::resume_rflags(frame) == 0x244fd7);  // no RF, VM, VIF, VIP, reserved
}

TEST_CASE("trap ports and vectors", "[x86]") {
  CHECK_FALSE(x86::trap_vector(0xbf).has_value());
  CHECK(x86::trap_vector(0xc0) == 0);
  CHECK(x86::trap_vector(0xdf) == 31);
  CHECK_FALSE(x86::trap_vector(0xe0).has_value());
  CHECK_FALSE(x86::trap_vector(0xffff).has_value());
  std::string with;
  for (unsigned v = 0; v < 256; ++v) {
    if (x86::has_error_code(static_cast<std::uint8_t>(v))) with += std::to_string(v) + ' ';
  }
  CHECK(with == "8 10 11 12 13 14 17 21 29 30 ");
  CHECK(std::string(x86::vector_name(0)) == "#DE");
  CHECK(std::string(x86::vector_name(x86::exception_vector::page_fault)) == "#PF");
  CHECK(std::string(x86::vector_name(x86::exception_vector::simd_floating_point)) == "#XM");
  CHECK(std::string(x86::vector_name(21)) == "#CP");
  CHECK(std::string(x86::vector_name(29)) == "#VC");
  CHECK(std::string(x86::vector_name(31)) == "reserved");
  CHECK(std::string(x86::vector_name(32)) == "interrupt");
}
