// Guests in Rust: what crosses the boundary, what they ask for, and how their panics end.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <guests/rusty.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

using rusty = guests::rusty;

struct lookup : hypercall<2, std::int32_t(std::uint32_t, bool)> {};
struct log_line : hypercall<3, void(std::string_view)> {};
struct fill
    : hypercall<4, std::uint64_t(std::span<std::uint16_t>, std::span<const std::uint16_t>)> {};

struct pixel {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  float alpha = 0;
};
struct line {
  std::array<pixel, 2> ends{};
  std::int16_t width = 0;
};

enum class number : std::uint16_t {};

auto make_policy(std::string& log) {
  return virtine::policy{
      allow<lookup>([](tainted<std::uint32_t> key, tainted<bool> negative) {
        const auto value = static_cast<std::int32_t>(key.unverified_because("any number is fine"));
        return negative.unverified_because("any truth is fine") ? -value : value;
      }),
      allow<log_line>(
          [&](tainted<std::string_view> text) { log += text.verify(at_most<100>).value(); }),
      allow<fill>(
          [](guest_buffer<std::uint16_t> out, tainted<std::span<const std::uint16_t>> from) {
            return std::uint64_t{out.fill(from.unverified_because("any numbers are fine"))};
          }),
      allow_entropy()};
}

// A function of the image with all that it may ask for.
template <class Sig, class Entry>
class guest_function {
 public:
  template <class... A>
  auto operator()(A... arguments) {
    return fn_.try_call(arguments...);
  }
  std::string& log() { return log_; }

 private:
  std::string log_;
  decltype(make_policy(log_)) policy_ = make_policy(log_);
  virtine_fn<Sig, Entry, decltype(policy_)> fn_{policy_};
};

template <class T>
void check_panic(const result<T>& outcome, std::string_view function) {
  REQUIRE_FALSE(outcome.has_value());
  CHECK(outcome.error().code == errc::guest_fault);
  CHECK(outcome.error().fault.kind == fault_kind::panicked);
  REQUIRE(outcome.error().fault.symbol != nullptr);
  // If the function was compiled into its entry, of that name; else with its crate's.
  CHECK(std::string_view(outcome.error().fault.symbol).ends_with(function));
}

}  // namespace

TEST_CASE("Rust functions take and give values", "[rust]") {
  guest_function<double(std::int8_t, std::uint64_t, float, bool, std::int16_t, double, std::size_t),
                 rusty::all_kinds>
      all_kinds;
  CHECK(all_kinds(std::int8_t{-1}, 20U, 0.5F, true, std::int16_t{-300}, 0.25, 4000U).value() ==
        3720.75);
  guest_function<bool(number), rusty::is_even> is_even;
  CHECK(is_even(number{4}).value());
  CHECK_FALSE(*is_even(number{65535}));

  guest_function<line(line, std::int16_t), rusty::stretch> stretch;
  const line stretched = *stretch(line{{pixel{1, 2, 3}, pixel{4, 5, 6}}, 7}, std::int16_t{10});
  CHECK(stretched.width == 17);
  CHECK(stretched.ends[0].green == 5);
  CHECK(stretched.ends[1].alpha == 3);
}

TEST_CASE("Rust functions take slices and texts, and give bytes", "[rust]") {
  guest_function<long(std::span<const int>), rusty::sum> sum;
  std::vector<int> values(1000, 3);
  CHECK(sum(std::span<const int>(values)).value() == 3000);
  CHECK(sum(std::span<const int>{}).value() == 0);
  CHECK(sum.log() == "summedsummed");

  guest_function<void(std::span<unsigned>, unsigned), rusty::double_all> double_all;
  std::array<unsigned, 3> numbers{1, 2, 0x8000'0001};
  REQUIRE(double_all(std::span<unsigned>(numbers), 2U));
  CHECK(numbers == std::array<unsigned, 3>{2, 4, 2});

  guest_function<bytes<24>(long), rusty::spell> spell;
  CHECK(spell(0L)->text() == "<0>");
  CHECK(spell(std::numeric_limits<long>::min())->text() == "<-9223372036854775808>");
  guest_function<bytes<8>(bytes<8>), rusty::echo> echo;
  CHECK(echo(bytes<8>("12345678"))->text() == "12345678");

  guest_function<std::uint64_t(std::string_view), rusty::characters> characters;
  CHECK(characters(std::string_view("na\xc3\xafve")).value() == 5);
  CHECK(characters(std::string_view("na\xefve")).value() == UINT64_MAX);
}

TEST_CASE("Rust functions ask the host", "[rust]") {
  guest_function<std::int32_t(std::uint32_t), rusty::price> price;
  CHECK(price(21U).value() == 42);
  guest_function<std::uint64_t(std::span<const std::uint16_t>), rusty::relay> relay;
  const std::array<std::uint16_t, 5> from{1, 2, 3, 4, 5};
  CHECK(relay(std::span<const std::uint16_t>(from)).value() == 4010);

  guest_function<void(std::span<std::uint8_t>), rusty::draw> draw;
  std::array<std::uint8_t, 32> first{};
  std::array<std::uint8_t, 32> second{};
  REQUIRE(draw(std::span<std::uint8_t>(first)));
  REQUIRE(draw(std::span<std::uint8_t>(second)));
  CHECK(first != second);

  // 5 is declared, but nothing calls it.
  const std::vector<std::uint32_t> imports(rusty::description.imports.begin(),
                                           rusty::description.imports.end());
  CHECK(imports == std::vector<std::uint32_t>{2, 3, 4, 0xffff0000});
}

TEST_CASE("statics of Rust are fresh in each call, after the initialiser", "[rust]") {
  guest_function<std::uint64_t(), rusty::count> count;
  CHECK(count().value() == 1);
  CHECK(count().value() == 1);
  guest_function<std::uint64_t(), rusty::prepared> prepared;
  CHECK(prepared().value() == 42);
}

TEST_CASE("a panic ends its call and names its place", "[rust]") {
  guest_function<std::uint8_t(std::span<const std::uint8_t>, std::size_t), rusty::at> at;
  const std::array<std::uint8_t, 3> values{7, 8, 9};
  CHECK(at(std::span(values), 2U).value() == 9);
  check_panic(at(std::span(values), 3U), "at");
  CHECK(at(std::span(values), 0U).value() == 7);

  guest_function<std::int32_t(std::int32_t, std::int32_t), rusty::divide> divide;
  CHECK(divide(7, 2).value() == 3);
  check_panic(divide(7, 0), "divide");
  check_panic(divide(std::numeric_limits<std::int32_t>::min(), -1), "divide");

  guest_function<std::int32_t(std::string_view), rusty::parse> parse;
  CHECK(parse(std::string_view("-17")).value() == -17);
  check_panic(parse(std::string_view("17x")), "parse");
  check_panic(parse(std::string_view("\xff")), "parse");
}

TEST_CASE("Rust that harms its memory ends its call", "[rust]") {
  guest_function<std::uint8_t(std::uint64_t), rusty::read> read;
  const auto null = read(std::uint64_t{16});
  REQUIRE_FALSE(null);
  CHECK(null.error().fault.kind == fault_kind::null_access);
  REQUIRE(null.error().fault.symbol != nullptr);
  CHECK(std::string_view(null.error().fault.symbol).ends_with("read"));
}
