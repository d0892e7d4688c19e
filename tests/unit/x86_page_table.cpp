// Page tables against hand-made entries, and against a model that only knows the ranges.
// SPDX-License-Identifier: MIT
#include <virtine/x86/page_table.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "catch.hpp"

namespace x86 = virtine::x86;
using x86::mapping;
using x86::page_table_error;

namespace {

// The layout of a small image: the fixed pages, text, constants, data, a guard page, stack, and
// the trap stack. The tables lie behind it.
constexpr std::array image{
    mapping{.begin = 0x10000, .end = 0x11000},
    mapping{.begin = 0x11000, .end = 0x12000, .executable = true},
    mapping{.begin = 0x12000, .end = 0x13000, .executable = true, .user = true},
    mapping{.begin = 0x20000, .end = 0x22000, .executable = true, .user = true},
    mapping{.begin = 0x22000, .end = 0x23000, .user = true},
    mapping{.begin = 0x23000, .end = 0x26000, .user = true},
    mapping{.begin = 0x27000, .end = 0x2b000, .writable = true, .user = true},
    mapping{.begin = 0x2b000, .end = 0x2c000, .writable = true},
};
constexpr std::uint64_t tables_at = 0x2c000;

constexpr auto built() {
  std::array<std::byte, 4 * x86::page_size> bytes{};
  return x86::build_page_tables(bytes, tables_at, image) ? bytes
                                                         : std::array<std::byte, sizeof bytes>{};
}
constexpr auto tables = built();

static_assert(x86::tables_needed(image) == 4);
static_assert(x86::walk(tables, tables_at, 0x20fff)->executable);
static_assert(!x86::walk(tables, tables_at, 0x26000).has_value());

std::uint64_t entry(std::size_t page, std::size_t index) {
  return x86::load<std::uint64_t>(tables, page * x86::page_size + index * 8);
}

page_table_error build_error(const std::vector<mapping>& mappings, std::size_t pages = 16,
                             std::uint64_t at = 0x400000) {
  std::vector<std::byte> bytes(pages * x86::page_size);
  const auto made = x86::build_page_tables(bytes, at, mappings);
  const bool untouched =
      std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  CHECK(bool(made) != untouched);
  return made.error;
}

}  // namespace

TEST_CASE("entries of a small image", "[x86]") {
  CHECK(entry(0, 0) == 0x2d027);  // PML4 -> PDPT: P RW U A
  CHECK(entry(1, 0) == 0x2e027);  // PDPT -> PD
  CHECK(entry(2, 0) == 0x2f027);  // PD -> PT
  CHECK(entry(0, 1) == 0);
  CHECK(entry(1, 1) == 0);
  CHECK(entry(2, 1) == 0);

  CHECK(entry(3, 0x10) == 0x8000000000010061);  // supervisor R NX: P A D
  CHECK(entry(3, 0x11) == 0x0000000000011061);  // supervisor RX
  CHECK(entry(3, 0x12) == 0x0000000000012065);  // user RX
  CHECK(entry(3, 0x21) == 0x0000000000021065);
  CHECK(entry(3, 0x22) == 0x8000000000022065);  // user R NX
  CHECK(entry(3, 0x25) == 0x8000000000025065);
  CHECK(entry(3, 0x27) == 0x8000000000027067);  // user RW NX
  CHECK(entry(3, 0x2a) == 0x800000000002a067);
  CHECK(entry(3, 0x2b) == 0x800000000002b063);  // supervisor RW NX
}

TEST_CASE("guards, address 0 and the tables are not mapped", "[x86]") {
  for (std::size_t i = 0; i < 0x10; ++i) CHECK(entry(3, i) == 0);
  for (std::size_t i = 0x13; i < 0x20; ++i) CHECK(entry(3, i) == 0);
  CHECK(entry(3, 0x26) == 0);
  for (std::size_t i = 0x2c; i < 512; ++i) CHECK(entry(3, i) == 0);
  CHECK_FALSE(x86::walk(tables, tables_at, 0).has_value());
  CHECK_FALSE(x86::walk(tables, tables_at, 0xffff).has_value());
  CHECK_FALSE(x86::walk(tables, tables_at, 0x26fff).has_value());
  CHECK_FALSE(x86::walk(tables, tables_at, tables_at).has_value());
  CHECK_FALSE(x86::walk(tables, tables_at, 0x8000000000).has_value());
  CHECK_FALSE(x86::walk(tables, tables_at, 0x0000800000010000).has_value());
  CHECK_FALSE(x86::walk(tables, tables_at, 0xffff800000010000).has_value());
}

TEST_CASE("a walk tells the rights of each kind of page", "[x86]") {
  const auto rights = [](std::uint64_t address) {
    const auto found = x86::walk(tables, tables_at, address);
    REQUIRE(found.has_value());
    CHECK(found->begin == (address & ~std::uint64_t{0xfff}));
    CHECK(found->size == 4096);
    std::string text;
    text += found->user ? 'u' : 's';
    if (found->writable) text += 'w';
    if (found->executable) text += 'x';
    return text;
  };
  CHECK(rights(0x10fff) == "s");
  CHECK(rights(0x11010) == "sx");
  CHECK(rights(0x12000) == "ux");
  CHECK(rights(0x21234) == "ux");
  CHECK(rights(0x22000) == "u");
  CHECK(rights(0x23000) == "u");
  CHECK(rights(0x27000) == "uw");
  CHECK(rights(0x2bff8) == "sw");
}

TEST_CASE("tables that were moved map the same to other memory", "[x86]") {
  auto moved = tables;
  constexpr std::uint64_t by = 0x1234567000;
  x86::relocate(moved, by);
  for (std::uint64_t address = 0; address < 0x400000; address += x86::page_size) {
    const auto before = x86::walk(tables, tables_at, address);
    const auto after = x86::walk(moved, tables_at + by, address);
    REQUIRE(before.has_value() == after.has_value());
    if (!before) continue;
    CHECK(after->begin == before->begin + by);
    CHECK(after->entry == before->entry);
    CHECK(std::tuple(after->writable, after->executable, after->user) ==
          std::tuple(before->writable, before->executable, before->user));
  }
}

TEST_CASE("a walk is stopped by an entry that leads out of the tables", "[x86]") {
  auto broken = tables;
  x86::store(broken, 0, std::uint64_t{0x30027});
  CHECK_FALSE(x86::walk(broken, tables_at, 0x20000).has_value());
  x86::store(broken, 0, std::uint64_t{0x2b027});
  CHECK_FALSE(x86::walk(broken, tables_at, 0x20000).has_value());
  CHECK_FALSE(x86::walk({}, tables_at, 0x20000).has_value());
  CHECK_FALSE(x86::walk(std::span(tables).first(3 * 4096), tables_at, 0x20000).has_value());
  CHECK_FALSE(x86::walk(std::span(tables).first(100), tables_at, 0x20000).has_value());
}

TEST_CASE("only pages the guest may touch and not execute become writable", "[x86]") {
  auto bytes = tables;
  REQUIRE(x86::pte_offset(bytes, tables_at, 0x23123) == 3 * 4096 + 0x23 * 8);
  CHECK(x86::make_writable(bytes, tables_at, 0x23123));
  CHECK(x86::load<std::uint64_t>(bytes, 3 * 4096 + 0x23 * 8) == 0x8000000000023067);
  CHECK(x86::make_writable(bytes, tables_at, 0x23000));
  CHECK(x86::make_writable(bytes, tables_at, 0x27000));

  const auto before = bytes;
  CHECK_FALSE(x86::make_writable(bytes, tables_at, 0x10000));  // supervisor
  CHECK_FALSE(x86::make_writable(bytes, tables_at, 0x11000));
  CHECK_FALSE(x86::make_writable(bytes, tables_at, 0x12000));  // code
  CHECK_FALSE(x86::make_writable(bytes, tables_at, 0x20000));
  CHECK_FALSE(x86::make_writable(bytes, tables_at, 0x26000));  // not mapped
  CHECK_FALSE(x86::make_writable(bytes, tables_at, 0));
  CHECK_FALSE(x86::make_writable(bytes, tables_at, ~std::uint64_t{0}));
  CHECK(bytes == before);
  CHECK_FALSE(x86::pte_offset(bytes, tables_at, 0x26000).has_value());
}

TEST_CASE("the order of mappings does not matter for what is mapped", "[x86]") {
  std::array reversed = image;
  std::reverse(reversed.begin(), reversed.end());
  std::array<std::byte, 4 * x86::page_size> bytes{};
  const auto made = x86::build_page_tables(bytes, tables_at, reversed);
  REQUIRE(made);
  CHECK(made.pml4 == tables_at);
  CHECK(made.pages == 4);
  CHECK(bytes == tables);
}

TEST_CASE("ranges over several 2 MiB, 1 GiB and 512 GiB slots", "[x86]") {
  const std::vector<mapping> mappings{
      {.begin = 0x1ff000, .end = 0x601000, .writable = true, .user = true},
      {.begin = 0x601000, .end = 0x602000, .executable = true, .user = true},  // same slot as above
      {.begin = 0x3ffff000, .end = 0x40001000, .user = true},                  // across 1 GiB
      {.begin = 0x7ffffff000, .end = 0x8000001000, .user = true},              // across 512 GiB
  };
  // PTs: 0, 1, 2, 3; 1ff, 200; 3ffff, 40000. PDs: 0, 1; 1ff, 200. PDPTs: 0, 1.
  REQUIRE(x86::tables_needed(mappings) == 1 + 2 + 4 + 8);
  std::vector<std::byte> bytes(15 * x86::page_size);
  const auto made = x86::build_page_tables(bytes, 0x100000000, mappings);
  REQUIRE(made);
  CHECK(made.pages == 15);
  for (const mapping& m : mappings) {
    for (auto a = m.begin; a < m.end; a += 4096) {
      const auto found = x86::walk(bytes, made.pml4, a);
      if (!found || found->begin != a || found->writable != m.writable) FAIL("address " << a);
    }
    if (m.begin != 0x601000) CHECK_FALSE(x86::walk(bytes, made.pml4, m.begin - 1).has_value());
    if (m.end != 0x601000) CHECK_FALSE(x86::walk(bytes, made.pml4, m.end).has_value());
  }
}

TEST_CASE("a span larger than needed is used from its front", "[x86]") {
  std::array<std::byte, 6 * x86::page_size> bytes{};
  const auto made = x86::build_page_tables(bytes, tables_at, image);
  REQUIRE(made);
  CHECK(made.pages == 4);
  CHECK(std::equal(tables.begin(), tables.end(), bytes.begin()));
  CHECK(std::all_of(bytes.begin() + sizeof tables, bytes.end(),
                    [](std::byte b) { return b == std::byte{0}; }));
}

TEST_CASE("mappings that are rejected", "[x86]") {
  CHECK(build_error({{.begin = 0x10000, .end = 0x12000, .user = true}}) == page_table_error::none);
  CHECK(build_error({{.begin = 0x10001, .end = 0x12000}}) == page_table_error::unaligned);
  CHECK(build_error({{.begin = 0x10000, .end = 0x12008}}) == page_table_error::unaligned);
  CHECK(build_error({{.begin = 0x12000, .end = 0x11000}}) == page_table_error::out_of_range);
  CHECK(build_error({{.begin = 0x12000, .end = 0x800000001000}}) == page_table_error::out_of_range);
  CHECK(build_error({{.begin = 0xffff800000000000, .end = 0xffff800000001000}}) ==
        page_table_error::out_of_range);
  CHECK(build_error({{.begin = 0, .end = 0x1000}}) == page_table_error::null_guard);
  CHECK(build_error({{.begin = 0xf000, .end = 0x11000}}) == page_table_error::null_guard);
  CHECK(build_error({{.begin = 0x10000, .end = 0x11000, .writable = true, .executable = true}}) ==
        page_table_error::writable_executable);
  CHECK(build_error({{.begin = 0x10000, .end = 0x12000}, {.begin = 0x11000, .end = 0x13000}}) ==
        page_table_error::overlap);
  CHECK(build_error({{.begin = 0x20000, .end = 0x21000}, {.begin = 0x10000, .end = 0x30000}}) ==
        page_table_error::overlap);
  CHECK(build_error({{.begin = 0x10000, .end = 0x12000}, {.begin = 0x10000, .end = 0x12000}}) ==
        page_table_error::overlap);
  CHECK(build_error({{.begin = 0x40f000, .end = 0x411000}}) == page_table_error::covers_tables);
  CHECK(build_error({{.begin = 0x3ff000, .end = 0x401000}}) == page_table_error::covers_tables);
  CHECK(build_error({{.begin = 0x3ff000, .end = 0x400000}, {.begin = 0x410000, .end = 0x411000}}) ==
        page_table_error::none);
  CHECK(build_error({{.begin = 0x10000, .end = 0x12000}}, 3) == page_table_error::no_room);
  CHECK(build_error({{.begin = 0x10000, .end = 0x12000}}, 16, 0x400800) ==
        page_table_error::unaligned);
  CHECK(build_error({{.begin = 0x10000, .end = 0x12000}}, 16, 0x7fffffff8000) ==
        page_table_error::out_of_range);
}

TEST_CASE("empty ranges take nothing", "[x86]") {
  const std::vector<mapping> mappings{{.begin = 0x20000, .end = 0x20000},
                                      {.begin = 0x20000, .end = 0x21000, .user = true},
                                      {.begin = 0, .end = 0}};
  CHECK(x86::tables_needed(mappings) == 4);
  CHECK(x86::tables_needed({}) == 1);
  CHECK(build_error(mappings) == page_table_error::none);
}

TEST_CASE("random ranges are mapped where they are and nowhere else", "[x86]") {
  std::uint64_t state = 1;
  const auto random = [&](std::uint64_t below) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 50; ++round) {
    std::vector<mapping> mappings;
    std::uint64_t next = 0x10;
    while (next < 0x1000) {
      mapping m{.begin = next << 12, .end = (next + random(700)) << 12};
      next = (m.end >> 12) + random(300);
      m.user = random(2) == 0;
      m.writable = random(2) == 0;
      m.executable = !m.writable && random(2) == 0;
      mappings.push_back(m);
      std::swap(mappings.back(), mappings[random(mappings.size())]);
    }
    std::vector<std::byte> bytes(x86::tables_needed(mappings) * x86::page_size);
    const auto made = x86::build_page_tables(bytes, 0x10000000, mappings);
    REQUIRE(made);
    REQUIRE(made.pages * x86::page_size == bytes.size());
    for (std::uint64_t a = 0; a < 0x1800000; a += 4096) {
      const auto expected = std::find_if(mappings.begin(), mappings.end(), [&](const mapping& m) {
        return m.begin <= a && a < m.end;
      });
      const auto found = x86::walk(bytes, made.pml4, a);
      if (found.has_value() != (expected != mappings.end())) FAIL("address " << a);
      if (!found) continue;
      if (found->begin != a || found->user != expected->user ||
          found->writable != expected->writable || found->executable != expected->executable) {
        FAIL("rights at " << a);
      }
    }
  }
}

TEST_CASE("2 MiB pages for a guest at CPL 0", "[x86]") {
  std::array<std::byte, 3 * x86::page_size> bytes{};
  const auto made = x86::build_identity_2m(bytes, 0x1000, 0x400001);
  REQUIRE(made);
  CHECK(made.pml4 == 0x1000);
  CHECK(made.pages == 3);
  const auto word = [&](std::size_t offset) { return x86::load<std::uint64_t>(bytes, offset); };
  CHECK(word(0x0000) == 0x2023);
  CHECK(word(0x1000) == 0x3023);
  CHECK(word(0x2000) == 0x0000e3);
  CHECK(word(0x2008) == 0x2000e3);
  CHECK(word(0x2010) == 0x4000e3);
  CHECK(word(0x2018) == 0);

  const auto found = x86::walk(bytes, 0x1000, 0x212345);
  REQUIRE(found.has_value());
  CHECK(found->begin == 0x200000);
  CHECK(found->size == 0x200000);
  CHECK(found->writable);
  CHECK(found->executable);
  CHECK_FALSE(found->user);
  CHECK_FALSE(x86::walk(bytes, 0x1000, 0x600000).has_value());
  CHECK_FALSE(x86::pte_offset(bytes, 0x1000, 0x212345).has_value());
  CHECK_FALSE(x86::make_writable(bytes, 0x1000, 0x212345));

  CHECK(x86::build_identity_2m(bytes, 0x1000, 0x40000000));
  CHECK(x86::walk(bytes, 0x1000, 0x3fffffff).has_value());
  CHECK(x86::build_identity_2m(bytes, 0x1000, 0x40000001).error == page_table_error::out_of_range);
  CHECK(x86::build_identity_2m(bytes, 0x1001, 0x1000).error == page_table_error::unaligned);
  CHECK(x86::build_identity_2m(std::span(bytes).first(0x2fff), 0x1000, 0x1000).error ==
        page_table_error::no_room);
}
