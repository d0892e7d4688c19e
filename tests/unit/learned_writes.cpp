// What machines of an image tell each other of the pages that they write.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstdint>
#include <vector>

#include <virtine/machine/learned_writes.hpp>

using virtine::detail::learned_writes;

namespace {
using pages = std::vector<std::uint64_t>;
}  // namespace

TEST_CASE("one machine teaches all that come", "[learned]") {
  learned_writes learned;
  CHECK(learned.pages().empty());
  learned.add({3, 1, 2});
  CHECK(learned.pages() == pages{1, 2, 3});
  learned.add({1, 2, 3});
  CHECK(learned.pages() == pages{1, 2, 3});
  learned.add({2, 7, 0});
  CHECK(learned.pages() == pages{0, 1, 2, 3, 7});
}

TEST_CASE("what one machine alone has written is forgotten at the next", "[learned]") {
  learned_writes learned;
  learned.add({1, 2, 3});
  learned.add({2});
  CHECK(learned.pages() == pages{2});
  learned.add({});
  CHECK(learned.pages() == pages{2});
  for (int i = 0; i < 4; ++i) learned.add({});
  CHECK(learned.pages().empty());
}

TEST_CASE("what nearly all machines write outlives one that does not", "[learned]") {
  learned_writes learned;
  for (int i = 0; i < 10; ++i) learned.add({5});
  for (int i = 0; i < 6; ++i) learned.add({});
  CHECK(learned.pages() == pages{5});
  learned.add({});
  CHECK(learned.pages().empty());
}

TEST_CASE("no more is learned than a machine is to restore", "[learned]") {
  learned_writes learned;
  pages many;
  for (std::uint64_t page = 0; page < 2 * learned_writes::max_pages; ++page) many.push_back(page);
  learned.add(many);
  CHECK(learned.pages().size() == learned_writes::max_pages);
  learned.add(many);
  CHECK(learned.pages().size() == learned_writes::max_pages);
  learned.clear();
  CHECK(learned.pages().empty());
}
