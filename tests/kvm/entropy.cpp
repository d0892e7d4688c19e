// Random bytes for guests: fresh in each call, although all begin with one snapshot.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include <guests/draws.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

using draws = guests::draws;
using bytes_out = std::span<std::byte>;

}  // namespace

TEST_CASE("calls of one snapshot draw different bytes from the host", "[entropy]") {
  auto policy = virtine::policy{allow_entropy()};
  pool<draws> machines;
  virtine_fn<std::uint64_t(), draws::draw_own, decltype(policy)> draw_own{machines, policy};
  virtine_fn<void(bytes_out), draws::draw, decltype(policy)> draw{machines, policy};
  // What a guest draws from a generator of its own is the same in every call.
  const std::uint64_t own = draw_own();
  CHECK(draw_own() == own);

  std::set<std::array<std::byte, 16>> seen;
  for (int i = 0; i < 20; ++i) {
    std::array<std::byte, 16> key{};
    draw(key);
    seen.insert(key);
  }
  CHECK(seen.size() == 20);
}

TEST_CASE("a request for random bytes is met in full or not at all", "[entropy]") {
  auto policy = virtine::policy{allow_entropy()};
  pool<draws> machines;
  virtine_fn<void(bytes_out), draws::draw, decltype(policy)> draw{machines, policy};
  for (const std::size_t size : {0U, 1U, 255U, 256U}) {
    std::vector<std::byte> out(size);
    CHECK(draw.try_call(out).has_value());
    // 255 zeros in a row are not to be expected.
    CHECK((size < 255 || std::ranges::any_of(out, [](std::byte b) { return b != std::byte{0}; })));
  }
  for (const std::size_t size : {257U, 60000U}) {
    std::vector<std::byte> out(size);
    const auto refused = draw.try_call(out);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::hypercall_rejected);
    CHECK(std::ranges::all_of(out, [](std::byte b) { return b == std::byte{0}; }));
  }
  virtine_fn<void(), draws::draw_into_constants, decltype(policy)> constants{machines, policy};
  CHECK(constants.try_call().error().code == errc::hypercall_rejected);

  // With a limit of the host's own, the last of several pieces included.
  auto generous = virtine::policy{allow_entropy<1000>()};
  virtine_fn<void(bytes_out), draws::draw, decltype(generous)> draw_more{machines, generous};
  std::vector<std::byte> out(1000);
  CHECK(draw_more.try_call(out).has_value());
  CHECK(
      std::ranges::any_of(std::span(out).last(200), [](std::byte b) { return b != std::byte{0}; }));
  CHECK(draw_more.try_call(std::span(out).first(1000)).has_value());
  out.resize(1001);
  CHECK(draw_more.try_call(out).error().code == errc::hypercall_rejected);
}
