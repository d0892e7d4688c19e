// The memory map of user64 guests: rights, gaps and order, from images made by hand.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include <guests/math.hpp>
#include <guests/nasm_add.hpp>
#include <guests/square.hpp>
#include <guests/text.hpp>
#include <virtine/machine/layout.hpp>
#include <virtine/machine/snapshot.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::uint64_t page = x86::page_size;
constexpr std::uint64_t base = x86::image_base;

constexpr std::array segments{
    segment{.address = base, .memory_size = 2 * page + 100, .content = "code", .executable = true},
    segment{.address = base + 3 * page, .memory_size = 10, .content = "constants"},
    segment{
        .address = base + 4 * page, .memory_size = 3 * page, .content = "data", .writable = true},
};

constexpr image_description describe(std::span<const segment> of) {
  image_description made;
  made.segments = of;
  made.arguments_size = page + 1;
  made.stack_size = 4 * page;
  return made;
}

constexpr image_description image = describe(segments);
constexpr layout where = layout_of(image);

bool is_mapped(std::uint64_t address) {
  for (const x86::mapping& m : where.mapped()) {
    if (address >= m.begin && address < m.end) return true;
  }
  return false;
}

static_assert(is_well_formed(image));
static_assert(is_well_formed(guests::square::description));
static_assert(is_well_formed(guests::math::description));
static_assert(is_well_formed(guests::text::description));
static_assert(is_well_formed(guests::nasm_add::description));

static_assert(page_up(0) == 0 && page_up(1) == page && page_up(page) == page);
static_assert(where.shared_end == base + 4 * page);
static_assert(where.arguments == base + 7 * page);
static_assert(where.guard == where.arguments + 2 * page);
static_assert(where.stack == where.guard + layout::guard_size);
static_assert(where.is_user(x86::image_base, where.guard - x86::image_base));
static_assert(where.is_user(where.stack, where.user_end - where.stack));
static_assert(!where.is_user(where.guard - 1, 2) && !where.is_user(where.stack - 1, 1));
static_assert(!where.is_user(where.user_end - 1, 2) && !where.is_user(x86::tables_page, 1));
static_assert(where.is_user(where.guard, 0));
static_assert(where.user_end == where.stack + 4 * page);
static_assert(where.trap_stack == where.user_end);
static_assert(where.trap_stack_top() == where.trap_stack + page);

}  // namespace

TEST_CASE("the map ascends, and every border is a page's", "[layout]") {
  std::uint64_t at = layout::begin;
  for (std::uint64_t border : {where.shared_end, where.arguments, where.guard, where.stack,
                               where.user_end, where.tables, where.end}) {
    CHECK(border > at);
    CHECK(border % page == 0);
    at = border;
  }
  at = x86::null_guard_end;
  for (const x86::mapping& m : where.mapped()) {
    CHECK(m.begin >= at);
    CHECK(m.end > m.begin);
    at = m.end;
  }
  CHECK(at == where.tables);
}

TEST_CASE("no page is both writable and executable, and only its own is a guest's", "[layout]") {
  for (const x86::mapping& m : where.mapped()) {
    INFO(std::hex << m.begin);
    CHECK_FALSE((m.writable && m.executable));
    const bool kernel = m.begin < x86::trampoline_page || m.begin >= where.user_end;
    CHECK(m.user == !kernel);
    // What all machines of an image share must not be writable at any privilege.
    if (m.begin < where.shared_end) CHECK_FALSE(m.writable);
  }
}

TEST_CASE("each segment has the rights that the image gives it", "[layout]") {
  for (const segment& s : segments) {
    bool found = false;
    for (const x86::mapping& m : where.mapped()) {
      if (m.begin != s.address) continue;
      found = true;
      CHECK(m.end == page_up(s.address + s.memory_size));
      CHECK(m.writable == s.writable);
      CHECK(m.executable == s.executable);
      CHECK(m.user);
    }
    CHECK(found);
  }
}

TEST_CASE("there is nothing below the stack, at null, or where the tables are", "[layout]") {
  CHECK(where.stack - where.guard >= 64 * 1024);
  for (std::uint64_t at = where.guard; at < where.stack; at += page) CHECK_FALSE(is_mapped(at));
  for (std::uint64_t at = 0; at < x86::null_guard_end; at += page) CHECK_FALSE(is_mapped(at));
  for (std::uint64_t at = where.tables; at < where.end; at += page) CHECK_FALSE(is_mapped(at));
  CHECK(is_mapped(where.guard - 1));
  CHECK(is_mapped(where.stack));
}

TEST_CASE("a guest may come to write its data, arguments and stack, and nothing else", "[layout]") {
  for (std::uint64_t at = 0; at < where.end + 4 * page; at += page) {
    const bool data = at >= base + 4 * page && at < where.guard;
    const bool stack = at >= where.stack && at < where.user_end;
    INFO(std::hex << at);
    CHECK(where.is_writable(at) == (data || stack));
    CHECK(where.is_writable(at + page - 1) == (data || stack));
  }
  CHECK_FALSE(where.is_writable(UINT64_MAX));
}

TEST_CASE("the pages that every call writes can be written", "[layout]") {
  const auto hot = snapshot::hot_pages(where);
  CHECK(hot[0] == where.arguments);
  CHECK(hot[1] == where.user_end - page);
  for (std::uint64_t at : hot) {
    CHECK(at % page == 0);
    CHECK(where.is_writable(at));
  }
}

TEST_CASE("page tables can be built from the map and say the same", "[layout]") {
  std::vector<std::byte> tables(where.end - where.tables);
  REQUIRE(x86::build_page_tables(tables, where.tables, where.mapped()));
  for (std::uint64_t at = 0; at < where.end; at += page) {
    INFO(std::hex << at);
    const auto entry = x86::walk(tables, where.tables, at);
    REQUIRE(entry.has_value() == is_mapped(at));
    if (!entry) continue;
    CHECK(entry->begin == at);
    CHECK((entry->writable && entry->user) == where.is_writable(at));
  }
}

TEST_CASE("an image without arguments still has a page for frames", "[layout]") {
  image_description none = image;
  none.arguments_size = 0;
  const layout made = layout_of(none);
  CHECK(made.guard == made.arguments + page);
  CHECK(made.is_writable(made.arguments));
}

TEST_CASE("an image of constants alone is shared as a whole", "[layout]") {
  const layout made = layout_of(describe(std::span(segments).first(2)));
  CHECK(made.shared_end == base + 4 * page);
  CHECK(made.arguments == made.shared_end);
}

TEST_CASE("an image that the library cannot rely on is not well-formed", "[layout]") {
  std::vector<segment> list(segments.begin(), segments.end());
  image_description bad = describe(list);
  REQUIRE(is_well_formed(bad));

  SECTION("no segments") {
    bad.segments = {};
  }
  SECTION("too many segments") {
    list.assign(layout::max_segments + 1, segments[2]);
    for (std::size_t i = 0; i < list.size(); ++i) list[i].address = base + 3 * i * page;
    bad.segments = list;
  }
  SECTION("no stack") {
    bad.stack_size = 0;
  }
  SECTION("a stack that is not whole pages") {
    bad.stack_size = page + 8;
  }
  SECTION("a segment that is not at a page") {
    list[1].address += 8;
  }
  SECTION("a segment below the image") {
    list[0].address = base - page;
  }
  SECTION("segments that overlap") {
    list[1].address -= page;
  }
  SECTION("segments that share a page") {
    list[1].memory_size = page + 1;
  }
  SECTION("segments out of order") {
    std::swap(list[0], list[1]);
  }
  SECTION("more content than memory") {
    list[0].memory_size = 3;
  }
  SECTION("writable code") {
    list[0].writable = true;
  }
  SECTION("constants after data") {
    list[2].writable = false, list[1].writable = true;
  }
  SECTION("a segment beyond what can be addressed") {
    list[2].address = x86::address_limit;
  }
  SECTION("a segment whose end wraps") {
    list[2].memory_size = UINT64_MAX - list[2].address;
  }
  SECTION("a last segment whose end is zero") {
    list[2].address = UINT64_MAX - page + 1;
    list[2].memory_size = page;
  }
  SECTION("arguments as large as a number can be") {
    bad.arguments_size = UINT64_MAX;
  }
  SECTION("arguments whose last page wraps") {
    bad.arguments_size = UINT64_MAX - page + 2;
  }
  SECTION("a stack as large as a number of pages can be") {
    bad.stack_size = UINT64_MAX - page + 1;
  }
  SECTION("sizes that are too large together only") {
    bad.arguments_size = bad.stack_size = layout::max_size / 2;
  }
  SECTION("sizes whose sum wraps") {
    bad.arguments_size = std::uint64_t{1} << 63;
    bad.stack_size = std::uint64_t{1} << 63;
  }
  CHECK_FALSE(is_well_formed(bad));
}

TEST_CASE("an image may be as large as is said, and no larger", "[layout]") {
  image_description large = image;
  const std::uint64_t rest = layout::max_size - (base + 7 * page) - large.stack_size;
  large.arguments_size = rest;
  CHECK(is_well_formed(large));
  large.arguments_size = rest + 1;
  CHECK_FALSE(is_well_formed(large));
}
