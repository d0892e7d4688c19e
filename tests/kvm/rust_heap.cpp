// Rust's alloc on the heap of the guest's C library.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstddef>
#include <string_view>

#include <guests/rusty_heap.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace virtine::detail;
using guests::rusty_heap;

TEST_CASE("Rust guests have collections and strings", "[rust]") {
  virtine_fn<bytes<100>(std::string_view), rusty_heap::count_words> count_words;
  CHECK(count_words("a guest in a guest").text() == "a=2,guest=2,in=1");
  virtine_fn<bool(), rusty_heap::is_aligned> is_aligned;
  CHECK(is_aligned());
}

TEST_CASE("a Rust guest that fills its heap panics", "[rust]") {
  virtine_fn<std::size_t(std::size_t), rusty_heap::hoard> hoard;
  CHECK(hoard(1'000'000) == 1'000'000);
  const auto full = hoard.try_call(100'000'000);
  REQUIRE_FALSE(full.has_value());
  CHECK(full.error().fault.kind == fault_kind::panicked);
  CHECK(hoard(1'000) == 1'000);
}
