// Addresses and lengths that a guest may choose, against a piece of memory.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <virtine/guest_memory.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::uint64_t base = 0x20000;
constexpr std::uint64_t top = UINT64_MAX;

class some_memory {
 public:
  some_memory() {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<std::byte>(i);
  }
  guest_memory view() { return {guest_address{base}, bytes_}; }
  const std::byte* data() const { return bytes_.data(); }

 private:
  alignas(8) std::array<std::byte, 64> bytes_;
};

static_assert(!std::is_convertible_v<std::uint64_t, guest_address>);
static_assert(!std::is_convertible_v<guest_address, std::uint64_t>);

}  // namespace

TEST_CASE("a range inside is viewed in place", "[guest_memory]") {
  some_memory owner;
  const guest_memory memory = owner.view();
  CHECK(to_number(memory.begin()) == base);
  CHECK(memory.size() == 64);
  for (std::uint64_t at : {0U, 1U, 63U}) {
    const auto found = memory.view(guest_address{base + at}, 64 - at);
    REQUIRE(found);
    CHECK(found->data() == owner.data() + at);
    CHECK(found->size() == 64 - at);
  }
  const auto nothing_at_end = memory.view(guest_address{base + 64}, 0);
  REQUIRE(nothing_at_end);
  CHECK(nothing_at_end->empty());
}

TEST_CASE("a range that is not wholly inside is refused", "[guest_memory]") {
  some_memory owner;
  struct range {
    std::uint64_t address, length;
  };
  const auto bad =
      GENERATE(range{base, 65}, range{base + 1, 64}, range{base + 63, 2}, range{base + 64, 1},
               range{base + 65, 0}, range{base - 1, 1}, range{base - 1, 2}, range{base - 1, 66},
               range{0, 1}, range{0, 0}, range{top, 1}, range{top, 0},
               // Sums that wrap, to an end inside or to a small one.
               range{base, top}, range{base, top - base + 1}, range{base + 1, top},
               range{base + 32, top - 31}, range{base + 63, top - base - 62},
               range{base, std::uint64_t{1} << 63}, range{top - base, base}, range{top, base + 2},
               range{top, top}, range{0, top}, range{base - 1, top},
               range{std::uint64_t{1} << 63, std::uint64_t{1} << 63});
  INFO(std::hex << bad.address << " + " << bad.length);
  const auto refused = owner.view().view(guest_address{bad.address}, bad.length);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::out_of_range);
  CHECK(refused.error().detail == bad.address);
}

TEST_CASE("memory at the end of the address space does not wrap to its start", "[guest_memory]") {
  std::array<std::byte, 16> bytes{};
  const guest_memory last{guest_address{top - 15}, bytes};
  CHECK(last.view(guest_address{top - 15}, 16));
  CHECK(last.view(guest_address{top}, 1));
  CHECK_FALSE(last.view(guest_address{top}, 2));
  CHECK_FALSE(last.view(guest_address{0}, 1));
  CHECK_FALSE(last.view(guest_address{0}, 0));
}

TEST_CASE("memory without bytes holds no range but the empty one", "[guest_memory]") {
  const guest_memory none;
  CHECK(none.view(guest_address{0}, 0));
  CHECK_FALSE(none.view(guest_address{0}, 1));
  CHECK_FALSE(none.view(guest_address{1}, 0));
  CHECK_FALSE(none.view(guest_address{0}, top));
}

TEST_CASE("values are read from any address, aligned or not", "[guest_memory]") {
  some_memory owner;
  const guest_memory memory = owner.view();
  CHECK(memory.read<std::uint8_t>(guest_address{base + 63}).value() == 63);
  CHECK(memory.read<std::uint16_t>(guest_address{base + 1}).value() == 0x0201);
  CHECK(memory.read<std::uint64_t>(guest_address{base + 3}).value() == 0x0a09080706050403);
  CHECK_FALSE(memory.read<std::uint64_t>(guest_address{base + 57}));
  CHECK_FALSE(memory.read<std::uint16_t>(guest_address{top}));
}

TEST_CASE("a write reaches its range and nothing else, or nothing at all", "[guest_memory]") {
  some_memory owner;
  const some_memory before;
  const guest_memory memory = owner.view();
  const std::array<std::byte, 4> four{std::byte{0xff}, std::byte{0xfe}, std::byte{0xfd},
                                      std::byte{0xfc}};
  for (std::uint64_t bad : {base - 1, base + 61, base + 64, top, top - 3, std::uint64_t{0}}) {
    CHECK_FALSE(memory.write(guest_address{bad}, four));
  }
  CHECK(std::memcmp(owner.data(), before.data(), 64) == 0);
  CHECK(memory.write(guest_address{base}, {}));
  REQUIRE(memory.write(guest_address{base + 60}, four));
  CHECK(std::memcmp(owner.data(), before.data(), 60) == 0);
  CHECK(std::memcmp(owner.data() + 60, four.data(), 4) == 0);
}
