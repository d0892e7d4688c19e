// The entry trampoline's page.
// SPDX-License-Identifier: MIT
#include <virtine/x86/trampoline.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

#include "catch.hpp"
#include "x86_assembled.hpp"

namespace x86 = virtine::x86;

static constexpr x86::page trampoline =
    x86::trampoline_bytes(0x1122334455667780, 0x8899aabbccddeef0);

TEST_CASE("the trampoline is what the assembler makes of it", "[x86]") {
  check_assembled("VIRTINE_TRAMPOLINE_BIN", trampoline);
}

TEST_CASE("the trampoline is entered where its variants begin", "[x86]") {
  CHECK(x86::trampoline_entry(x86::vector_wipe::xrstor) == 0x12000);
  CHECK(x86::trampoline_entry(x86::vector_wipe::fninit_xrstor) == 0x12080);
  CHECK(x86::trampoline_entry(x86::vector_wipe::fxrstor) == 0x12100);
}

TEST_CASE("the initial state is the one XRSTOR wants", "[x86]") {
  const auto at = [](std::size_t offset) {
    return x86::load<std::uint64_t>(trampoline, x86::init_state_offset + offset);
  };
  CHECK(x86::init_state_offset % 64 == 0);
  for (std::size_t offset = 0; offset < x86::init_state_size; offset += 8) {
    const std::uint64_t expected = offset == 0 ? 0x37f : offset == 24 ? 0x1f80 : 0;
    CHECK(at(offset) == expected);
  }
}

TEST_CASE("nothing but the entries writes to a port", "[x86]") {
  std::size_t found = 0;
  for (std::size_t i = 0; i < x86::page_size; ++i) {
    if (trampoline[i] == std::byte{0xe7}) ++found;
  }
  CHECK(found == x86::vector_wipes.size());
  // A guest can jump to any byte of the loops.
  for (std::size_t i = x86::batch_offset; i < x86::page_size; ++i) {
    CHECK_FALSE(x86::detail::is_out(trampoline[i]));
  }
}

TEST_CASE("only the entries come before the call", "[x86]") {
  for (const x86::vector_wipe how : x86::vector_wipes) {
    CHECK(x86::in_trampoline(x86::trampoline_entry(how)));
  }
  for (const std::uint64_t loop : {x86::batch_function, x86::session_function}) {
    CHECK_FALSE(x86::in_trampoline(loop));
  }
}

// What the host has put there is proof, as long as it is there, that no guest code has run.
TEST_CASE("R15 is cleared right before the function is called, and not before", "[x86]") {
  for (const x86::vector_wipe how : x86::vector_wipes) {
    const auto entry = trampoline.begin() + static_cast<std::ptrdiff_t>(x86::trampoline_entry(how) -
                                                                        x86::trampoline_page);
    const auto end = entry + x86::entry_distance;
    constexpr std::array call{std::byte{0x58}, std::byte{0x5f}, std::byte{0xff}, std::byte{0xd0}};
    constexpr std::array clear{std::byte{0x45}, std::byte{0x31}, std::byte{0xff}};
    const auto cleared = std::search(entry, end, clear.begin(), clear.end());
    REQUIRE(cleared != end);
    CHECK(std::search(entry, end, call.begin(), call.end()) == cleared + 3);
  }
}

TEST_CASE("only the trampoline's own exits are known as such", "[x86]") {
  for (const x86::vector_wipe how : x86::vector_wipes) {
    std::size_t known = 0;
    for (std::size_t i = 0; i < x86::page_size; ++i) {
      if (!x86::is_trampoline_exit(x86::trampoline_page + i, how)) continue;
      ++known;
      // Where RIP is at the instruction, it is an `out`; where RIP is past it, the one before is.
      const std::size_t out = trampoline[i] == std::byte{0xe7} ? i : i - 2;
      CHECK(trampoline[out] == std::byte{0xe7});
      CHECK(trampoline[out + 2] == std::byte{0xe9});  // jmp
    }
    CHECK(known == 2);
    CHECK_FALSE(x86::is_trampoline_exit(0, how));
  }
}
