// Descriptor tables against literals taken from the manuals' bit layouts.
// SPDX-License-Identifier: MIT
#include <virtine/x86/descriptors.hpp>

#include <string>
#include <vector>

#include "catch.hpp"

namespace x86 = virtine::x86;

namespace {
template <class T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
  return x86::load<T>(bytes, offset);
}
}  // namespace

TEST_CASE("bytes are stored least significant first", "[x86]") {
  std::array<std::byte, 10> bytes{};
  x86::store(bytes, 1, std::uint64_t{0x8877665544332211});
  CHECK(bytes[0] == std::byte{0});
  CHECK(bytes[1] == std::byte{0x11});
  CHECK(bytes[8] == std::byte{0x88});
  CHECK(bytes[9] == std::byte{0});
  CHECK(x86::load<std::uint8_t>(bytes, 8) == 0x88);
  CHECK(x86::load<std::uint16_t>(bytes, 7) == 0x8877);
  CHECK(x86::load<std::uint32_t>(bytes, 1) == 0x44332211);
  CHECK(x86::load<std::uint64_t>(bytes, 1) == 0x8877665544332211);
}

TEST_CASE("the GDT has the documented entries and no others", "[x86]") {
  constexpr auto gdt = x86::gdt();
  const std::vector<std::uint64_t> expected{
      0,                   // 0x00
      0x00af9b000000ffff,  // 0x08 code, 64-bit, DPL 0
      0x00cf93000000ffff,  // 0x10 data, DPL 0
      0,                   // 0x18
      0,                   // 0x20
      0x00cff3000000ffff,  // 0x28 data, DPL 3
      0x00affb000000ffff,  // 0x30 code, 64-bit, DPL 3
      0x00008b0101000088,  // 0x38 busy TSS at 0x10100, limit 0x88
      0,                   // 0x40 its upper half
  };
  REQUIRE(gdt.size() == expected.size() * 8);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("selector " << i * 8);
    CHECK(at<std::uint64_t>(gdt, i * 8) == expected[i]);
  }
  CHECK(x86::gdt_limit == 0x47);
}

TEST_CASE("descriptors that could change a guest's mode or privilege are recognised", "[x86]") {
  CHECK(x86::detail::is_inert(0x00affb000000ffff));
  CHECK_FALSE(x86::detail::is_inert(0x00cffb000000ffff));  // 32-bit code, DPL 3
  CHECK_FALSE(x86::detail::is_inert(0x00affa000000ffff));  // 64-bit code, not accessed
  CHECK_FALSE(x86::detail::is_inert(0x00af9f000000ffff));  // 64-bit code, conforming
  CHECK_FALSE(x86::detail::is_inert(0x0000ec0000081000));  // call gate, DPL 3
  CHECK_FALSE(x86::detail::is_inert(0x0000890101000088));  // available TSS
  CHECK_FALSE(x86::detail::is_inert(0x0000820000000000));  // LDT
}

TEST_CASE("the TSS opens the ports of done, hypercall and system call, and nothing else", "[x86]") {
  constexpr auto tss = x86::tss(0x1122334455667780);
  REQUIRE(tss.size() == 0x89);
  CHECK(x86::tss_limit == 0x88);
  CHECK(at<std::uint64_t>(tss, 0x04) == 0x1122334455667780);
  CHECK(at<std::uint16_t>(tss, 0x66) == 0x68);
  CHECK(at<std::uint8_t>(tss, 0x68 + 0x1b) == 0xff);
  CHECK(at<std::uint8_t>(tss, 0x68 + 0x1c) == 0x00);
  CHECK(at<std::uint8_t>(tss, 0x68 + 0x1d) == 0xf0);
  CHECK(at<std::uint8_t>(tss, 0x68 + 0x1e) == 0xff);
  CHECK(at<std::uint8_t>(tss, 0x88) == 0xff);
  for (unsigned width : {1U, 2U, 4U}) {
    for (unsigned port = 0; port <= 0xffff; ++port) {
      const bool ours = port >= 0xe0 && port + width <= 0xec;
      if (x86::permits_port(tss, port, width) != ours) FAIL("port " << port << "/" << width);
    }
  }
}

TEST_CASE("every IDT gate leads to its stub at CPL 0", "[x86]") {
  constexpr auto idt = x86::idt();
  CHECK(x86::idt_limit == 0x1ff);
  CHECK(at<std::uint64_t>(idt, 0) == 0x00018e0000081000);
  CHECK(at<std::uint64_t>(idt, 0x30) == 0x0001ee0000081030);  // #BP: DPL 3
  CHECK(at<std::uint64_t>(idt, 0xe0) == 0x00018e00000810e0);
  for (std::size_t vector = 0; vector < 32; ++vector) {
    const auto low = at<std::uint64_t>(idt, vector * 16);
    const std::uint64_t target = (low & 0xffff) | (low >> 48 << 16) |
                                 std::uint64_t{at<std::uint32_t>(idt, vector * 16 + 8)} << 32;
    CHECK(target == 0x11000 + vector * 16);
    CHECK((low >> 16 & 0xffff) == 0x08);
    CHECK((low >> 32 & 7) == 0);
    CHECK((low >> 40 & 0xff) == (vector == 3 ? 0xeeU : 0x8eU));
    CHECK(at<std::uint32_t>(idt, vector * 16 + 12) == 0);
  }
}

TEST_CASE("the tables share a page without touching each other", "[x86]") {
  constexpr auto page = x86::tables_page_bytes(0x345000);
  CHECK(at<std::uint64_t>(page, 0x008) == 0x00af9b000000ffff);
  CHECK(at<std::uint64_t>(page, 0x104) == 0x345000);
  CHECK(at<std::uint8_t>(page, 0x188) == 0xff);
  CHECK(at<std::uint8_t>(page, 0x189) == 0);
  CHECK(at<std::uint64_t>(page, 0x200) == 0x00018e0000081000);
  CHECK(at<std::uint64_t>(page, 0x3f0) == 0x00018e00000811f0);
  CHECK(at<std::uint64_t>(page, 0x400) == 0);
}

TEST_CASE("segment registers of each mode", "[x86]") {
  using x86::cpu_mode;
  const auto user = x86::segments_of(cpu_mode::user64);
  CHECK(user.code == x86::segment{.limit = 0xffffffff,
                                  .selector = 0x33,
                                  .type = 11,
                                  .present = 1,
                                  .dpl = 3,
                                  .s = 1,
                                  .l = 1,
                                  .g = 1});
  CHECK(user.data == x86::segment{.limit = 0xffffffff,
                                  .selector = 0x2b,
                                  .type = 3,
                                  .present = 1,
                                  .dpl = 3,
                                  .db = 1,
                                  .s = 1,
                                  .g = 1});
  CHECK(user.task ==
        x86::segment{.base = 0x10100, .limit = 0x88, .selector = 0x38, .type = 11, .present = 1});
  CHECK(x86::segments_of(cpu_mode::user64, x86::available_task).task.type == 9);

  const auto real = x86::segments_of(cpu_mode::real16);
  CHECK(real.code == x86::segment{.limit = 0xffff, .type = 0xb, .present = 1, .s = 1});
  CHECK(real.data == x86::segment{.limit = 0xffff, .type = 3, .present = 1, .s = 1});

  const auto flat32 = x86::segments_of(cpu_mode::protected32);
  CHECK(x86::descriptor(flat32.code) == 0x00cf9b000000ffff);
  CHECK(x86::descriptor(flat32.data) == 0x00cf93000000ffff);
  const auto flat64 = x86::segments_of(cpu_mode::long64);
  CHECK(x86::descriptor(flat64.code) == 0x00af9b000000ffff);
  CHECK(flat64.code.selector == 0x08);
  CHECK(flat64.data.selector == 0x10);

  for (auto mode : {cpu_mode::user64, cpu_mode::real16, cpu_mode::protected32, cpu_mode::long64}) {
    const auto set = x86::segments_of(mode);
    CHECK(set.task.type == 11);
    CHECK(set.task.present == 1);
    CHECK(set.task.s == 0);
    CHECK(set.local.unusable == 1);
    CHECK(set.local.present == 0);
  }
}

TEST_CASE("control registers of each mode", "[x86]") {
  using x86::control_registers;
  using x86::control_registers_of;
  using x86::cpu_mode;
  CHECK(control_registers_of(cpu_mode::user64) == control_registers{0x80050033, 0x620, 0xd00});
  CHECK(control_registers_of(cpu_mode::long64) == control_registers{0x80050033, 0x620, 0xd00});
  CHECK(control_registers_of(cpu_mode::protected32) == control_registers{0x33, 0x600, 0});
  CHECK(control_registers_of(cpu_mode::real16) == control_registers{0x30, 0x600, 0});
  CHECK(control_registers_of(cpu_mode::user64, {.osxsave = true}).cr4 == 0x40620);
  CHECK(control_registers_of(cpu_mode::user64, {.fsgsbase = true}).cr4 == 0x10620);
  CHECK(x86::initial_rflags == 0x202);  // IOPL 0
  CHECK(std::string(x86::name(cpu_mode::protected32)) == "protected32");
}
