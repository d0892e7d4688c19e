// Who is blamed when the trampoline fails.
// SPDX-License-Identifier: MIT
#include <virtine/machine/failed_entry.hpp>

#include "catch.hpp"

using namespace virtine;
using namespace virtine::detail;

TEST_CASE("a failed entry is the host's only before guest code and on a new machine", "[entry]") {
  CHECK(cause_of(arrival::first, true) == errc::host_unfit);
  CHECK(cause_of(arrival::first, false) == errc::guest_fault);
  CHECK(cause_of(arrival::placed, true) == not_entered);
  CHECK(cause_of(arrival::placed, false) == errc::guest_fault);
  CHECK(cause_of(arrival::continued, false) == not_entered);
  CHECK(cause_of(arrival::continued, true) == not_entered);
}

TEST_CASE("the mark is one number, and no other is taken for it", "[entry]") {
  CHECK(entry_mark() != 0);
  CHECK(entry_mark() == entry_mark());
  CHECK(is_marked(entry_mark()));
  CHECK_FALSE(is_marked(0));
  CHECK_FALSE(is_marked(entry_mark() + 1));
}
