// Hypercalls as a hostile guest would make them: frames anywhere, lengths of any size, any bytes.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/policy.hpp>

#include "../scripted_machine.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::uint64_t base = scripted_machine::base;
constexpr std::uint64_t end = base + scripted_machine::memory_size;

enum class colour : std::uint8_t { red = 1, green = 2 };
struct gaps {
  char kind = 0;
  std::int32_t number = 0;
};

struct log_line : hypercall<1, void(std::string_view)> {};
struct add : hypercall<2, int(int, int)> {};
struct fill_in : hypercall<3, std::uint64_t(std::span<std::int32_t>)> {};
struct total : hypercall<4, long(std::span<const std::int64_t>)> {};
struct paint : hypercall<5, bool(bool, colour)> {};
struct tick : hypercall<6, void()> {};
struct origin : hypercall<7, gaps()> {};

const auto add_up = [](tainted<int> a, tainted<int> b) {
  return a.unverified_because("any number will do") + b.unverified_because("any number will do");
};
const auto ignore = [] {};

std::unique_ptr<scripted_machine> make_guest() {
  static constexpr image_description image{};
  scripted_machine::forget();
  return scripted_machine::create(image).value();
}

template <class T>
void put(scripted_machine& guest, std::uint64_t at, const T& value) {
  REQUIRE(guest.write(guest_address{at}, std::as_bytes(std::span(&value, 1))));
}
template <class T>
T get(scripted_machine& guest, std::uint64_t at) {
  return guest.memory().read<T>(guest_address{at}).value();
}

void check_rejected(const result<void>& served, const char* part) {
  REQUIRE_FALSE(served);
  CHECK(served.error().code == errc::hypercall_rejected);
  INFO(served.error().operation);
  CHECK(std::string(served.error().operation).find(part) != std::string::npos);
}

static_assert(!deny_all::allows(0) && !deny_all::allows(1));
using two = policy<allowed<add, decltype(add_up)>, allowed<tick, decltype(ignore)>>;
static_assert(two::allows(2) && two::allows(6) && !two::allows(1) && !two::allows(3));

}  // namespace

template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green;
  }
};

TEST_CASE("an allowed hypercall runs its handler and answers in the frame", "[policy]") {
  const auto guest = make_guest();
  policy rules{allow<tick>(ignore), allow<add>(add_up)};
  put(*guest, base + 64 + 4, 30);
  put(*guest, base + 64 + 8, 12);
  REQUIRE(rules.serve(2, *guest, guest_address{base + 64}));
  CHECK(get<int>(*guest, base + 64) == 42);
  CHECK(get<int>(*guest, base + 64 + 4) == 30);
}

TEST_CASE("a hypercall that no entry allows is denied, and told by its number", "[policy]") {
  const auto guest = make_guest();
  int calls = 0;
  policy rules{allow<tick>([&] { ++calls; })};
  deny_all none;
  const auto number = GENERATE(std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{5},
                               std::uint64_t{7}, (std::uint64_t{1} << 32) + 6, UINT64_MAX);
  const auto denied = rules.serve(number, *guest, guest_address{base});
  REQUIRE_FALSE(denied);
  CHECK(denied.error().code == errc::hypercall_denied);
  CHECK(denied.error().detail == number);
  CHECK(calls == 0);
  CHECK(none.serve(number, *guest, guest_address{base}).error().code == errc::hypercall_denied);
  CHECK(rules.serve(6, *guest, guest_address{base}));
  CHECK(calls == 1);
}

TEST_CASE("a frame that is not in the guest's memory is rejected", "[policy]") {
  const auto guest = make_guest();
  int calls = 0;
  policy rules{allow<add>([&](tainted<int>, tainted<int>) { return ++calls; })};
  const auto at = GENERATE(std::uint64_t{0}, base - 1, base - 16, end - 15, end, UINT64_MAX,
                           UINT64_MAX - 15, std::uint64_t{1} << 63);
  check_rejected(rules.serve(2, *guest, guest_address{at}), "frame lies outside");
  CHECK(calls == 0);
  CHECK(rules.serve(2, *guest, guest_address{end - 16}));
  CHECK(calls == 1);
}

TEST_CASE("a hypercall without arguments and result needs no frame", "[policy]") {
  const auto guest = make_guest();
  int calls = 0;
  policy rules{allow<tick>([&] { ++calls; })};
  CHECK(rules.serve(6, *guest, guest_address{UINT64_MAX}));
  CHECK(calls == 1);
}

TEST_CASE("a text is seen in place", "[policy]") {
  const auto guest = make_guest();
  std::string seen = "none";
  policy rules{allow<log_line>(
      [&](tainted<std::string_view> text) { seen = text.verify(at_most<100>).value(); })};
  std::memcpy(guest->arguments().data() + 100, "hello", 5);
  put(*guest, base, sequence_reference{base + 100, 5});
  REQUIRE(rules.serve(1, *guest, guest_address{base}));
  CHECK(seen == "hello");

  SECTION("an empty one may have any address") {
    put(*guest, base, sequence_reference{GENERATE(0U, base, UINT64_MAX), 0});
    REQUIRE(rules.serve(1, *guest, guest_address{base}));
    CHECK(seen.empty());
  }
  SECTION("one that reaches the last byte is whole") {
    put(*guest, base, sequence_reference{end - 3, 3});
    REQUIRE(rules.serve(1, *guest, guest_address{base}));
    CHECK(seen.size() == 3);
  }
  SECTION("one that is not wholly in the guest's memory is rejected") {
    const auto bad = GENERATE(
        sequence_reference{0, 1}, sequence_reference{base - 1, 2}, sequence_reference{end, 1},
        sequence_reference{end - 1, 2}, sequence_reference{base, UINT64_MAX},
        sequence_reference{base + 1, UINT64_MAX}, sequence_reference{UINT64_MAX, 1},
        sequence_reference{UINT64_MAX, UINT64_MAX}, sequence_reference{base, UINT64_MAX - base + 1},
        sequence_reference{base, std::uint64_t{1} << 63});
    put(*guest, base, bad);
    check_rejected(rules.serve(1, *guest, guest_address{base}), "lies outside");
    CHECK(seen == "hello");
  }
}

TEST_CASE("elements are counted in bytes without wrapping, and aligned", "[policy]") {
  const auto guest = make_guest();
  std::optional<long> sum;
  policy rules{allow<total>([&](tainted<std::span<const std::int64_t>> values) {
    return values.verify([&](std::span<const std::int64_t> each) {
      long made = 0;
      for (auto value : each) made += value;
      sum = made;
      return made;
    });
  })};
  put(*guest, base + 64, std::array<std::int64_t, 3>{1, 2, 3});
  put(*guest, base + 8, sequence_reference{base + 64, 3});
  REQUIRE(rules.serve(4, *guest, guest_address{base}));
  CHECK(sum == 6);
  CHECK(get<long>(*guest, base) == 6);
  sum.reset();

  SECTION("a number of bytes that wraps") {
    const auto count = GENERATE((std::uint64_t{1} << 61) + 1, std::uint64_t{1} << 61, UINT64_MAX,
                                (std::uint64_t{1} << 63) + 1, UINT64_MAX / 8 + 1);
    put(*guest, base + 8, sequence_reference{base + 64, count});
    check_rejected(rules.serve(4, *guest, guest_address{base}), "not a value of its type");
  }
  SECTION("a number of bytes that is larger than the memory") {
    const auto count = GENERATE(std::uint64_t{scripted_machine::memory_size / 8 - 7},
                                UINT64_MAX / 8, std::uint64_t{1} << 60);
    put(*guest, base + 8, sequence_reference{base + 64, count});
    check_rejected(rules.serve(4, *guest, guest_address{base}), "lies outside");
  }
  SECTION("an address that no element could have") {
    put(*guest, base + 8, sequence_reference{base + 64 + GENERATE(1U, 2U, 4U, 7U), 1});
    check_rejected(rules.serve(4, *guest, guest_address{base}), "not a value of its type");
  }
  CHECK_FALSE(sum);
}

TEST_CASE("a buffer is filled as far as it reaches", "[policy]") {
  const auto guest = make_guest();
  std::vector<std::int32_t> content{10, 20, 30, 40};
  policy rules{allow<fill_in>(
      [&](guest_buffer<std::int32_t> to) -> std::uint64_t { return to.fill(content); })};
  const auto serve = [&](std::uint64_t count) {
    put(*guest, base + 8, sequence_reference{base + 64, count});
    put(*guest, base + 64, std::array<std::int32_t, 5>{-1, -1, -1, -1, -1});
    REQUIRE(rules.serve(3, *guest, guest_address{base}));
    return get<std::uint64_t>(*guest, base);
  };
  using numbers = std::array<std::int32_t, 5>;
  CHECK(serve(3) == 3);
  CHECK(get<numbers>(*guest, base + 64) == numbers{10, 20, 30, -1, -1});
  CHECK(serve(5) == 4);
  CHECK(get<numbers>(*guest, base + 64) == numbers{10, 20, 30, 40, -1});
  CHECK(serve(0) == 0);
  CHECK(get<numbers>(*guest, base + 64) == numbers{-1, -1, -1, -1, -1});
}

TEST_CASE("a buffer that is not wholly in the guest's memory never reaches the handler",
          "[policy]") {
  // A handler relies on size() being memory that exists: it may make room for as much of its own.
  const auto guest = make_guest();
  int calls = 0;
  policy rules{allow<fill_in>([&](guest_buffer<std::int32_t>) -> std::uint64_t {
    ++calls;
    return 0;
  })};
  const auto bad = GENERATE(sequence_reference{base, scripted_machine::memory_size / 4 + 1},
                            sequence_reference{end, 1}, sequence_reference{base - 4, 2},
                            sequence_reference{0, 1}, sequence_reference{base, UINT64_MAX / 4},
                            sequence_reference{UINT64_MAX - 3, 1},
                            sequence_reference{base, std::uint64_t{1} << 40});
  put(*guest, base + 8, bad);
  check_rejected(rules.serve(3, *guest, guest_address{base}), "lies outside");
  CHECK(calls == 0);
}

TEST_CASE("a value that its type does not have is rejected", "[policy]") {
  const auto guest = make_guest();
  int calls = 0;
  policy rules{allow<paint>([&](tainted<bool>, tainted<colour>) { return ++calls > 0; })};
  const auto serve = [&](unsigned char flag, unsigned char number) {
    put(*guest, base + 1, flag);
    put(*guest, base + 2, number);
    return rules.serve(5, *guest, guest_address{base});
  };
  CHECK(serve(1, 2));
  CHECK(calls == 1);
  CHECK(get<unsigned char>(*guest, base) == 1);
  check_rejected(serve(2, 2), "not a value of its type");
  check_rejected(serve(1, 0), "not a value of its type");
  check_rejected(serve(255, 255), "not a value of its type");
  CHECK(calls == 1);
}

TEST_CASE("a handler can reject what it is given", "[policy]") {
  const auto guest = make_guest();
  bool accept = false;
  policy rules{allow<add>([&](tainted<int>, tainted<int>) -> answer<int> {
                 if (!accept) return reject{};
                 return 7;
               }),
               allow<log_line>([&](tainted<std::string_view>) -> answer<void> {
                 if (!accept) return reject{};
                 return {};
               })};
  put(*guest, base, std::int64_t{-1});
  check_rejected(rules.serve(2, *guest, guest_address{base}), "handler rejected");
  CHECK(get<int>(*guest, base) == -1);
  put(*guest, base + 16, sequence_reference{0, 0});
  check_rejected(rules.serve(1, *guest, guest_address{base + 16}), "handler rejected");
  accept = true;
  REQUIRE(rules.serve(2, *guest, guest_address{base}));
  CHECK(get<int>(*guest, base) == 7);
  CHECK(rules.serve(1, *guest, guest_address{base + 16}));
}

TEST_CASE("an answer shows no padding of the host", "[policy]") {
  const auto guest = make_guest();
  policy rules{allow<origin>([] {
    gaps made;
    std::memset(static_cast<void*>(&made), 0xee, sizeof made);
    made.kind = 'k';
    made.number = 5;
    return made;
  })};
  put(*guest, base, UINT64_MAX);
  REQUIRE(rules.serve(7, *guest, guest_address{base}));
  CHECK(get<std::array<unsigned char, 8>>(*guest, base) ==
        std::array<unsigned char, 8>{'k', 0, 0, 0, 5, 0, 0, 0});
}

TEST_CASE("handlers keep their state from call to call", "[policy]") {
  const auto guest = make_guest();
  policy rules{allow<add>([made = 0](tainted<int>, tainted<int>) mutable { return ++made; })};
  for (int expected : {1, 2, 3}) {
    REQUIRE(rules.serve(2, *guest, guest_address{base}));
    CHECK(get<int>(*guest, base) == expected);
  }
}
