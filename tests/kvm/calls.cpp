// What crosses the boundary of a call, in both directions, and what does not.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <guests/nasm_add.hpp>
#include <guests/raw.hpp>
#include <guests/square.hpp>
#include <guests/text.hpp>
#include <guests/values.hpp>
#include <guests/values_types.hpp>
#include <virtine/virtine.hpp>

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

namespace {

using values = guests::values;
using raw = guests::raw;

template <class Sig, class Entry>
using fn = virtine_fn<Sig, Entry>;

template <class T, class Entry>
void check_successors(pool<values>& machines) {
  fn<T(T), Entry> next(machines);
  const T low = std::numeric_limits<T>::min();
  const T high = std::numeric_limits<T>::max();
  for (const T value : std::initializer_list<T>{low, T{0}, T{1}, T{0x5a}, high}) {
    INFO(Entry::name << '(' << +value << ')');
    CHECK(next(value) == (value == high ? low : static_cast<T>(value + 1)));
  }
}

// Returns a padded whose padding holds `fill`, as it would if it lay where something else was.
padded padded_over(unsigned char fill, padded value) {
  alignas(padded) std::array<unsigned char, sizeof(padded)> room;
  room.fill(fill);
  std::memcpy(room.data(), &value.tag, sizeof value.tag);
  std::memcpy(room.data() + offsetof(padded, number), &value.number, sizeof value.number);
  std::memcpy(room.data() + offsetof(padded, small), &value.small, sizeof value.small);
  padded made;
  // Sound: a padded is trivially copyable; what the padding becomes does not matter to the test,
  // which then only shows less.
  std::memcpy(static_cast<void*>(&made), room.data(), sizeof made);
  return made;
}

// Checks the bytes of a padded as a guest sees it.
void check_bytes(std::span<const std::byte> seen, const padded& value) {
  REQUIRE(seen.size() == sizeof(padded));
  std::array<std::byte, sizeof(padded)> expected{};
  std::memcpy(expected.data(), &value.tag, sizeof value.tag);
  std::memcpy(expected.data() + offsetof(padded, number), &value.number, sizeof value.number);
  std::memcpy(expected.data() + offsetof(padded, small), &value.small, sizeof value.small);
  CHECK(std::memcmp(seen.data(), expected.data(), expected.size()) == 0);
}

}  // namespace

TEST_CASE("integers of every size keep all their bits", "[calls]") {
  pool<values> machines;
  check_successors<std::int8_t, values::next_i8>(machines);
  check_successors<std::uint8_t, values::next_u8>(machines);
  check_successors<std::int16_t, values::next_i16>(machines);
  check_successors<std::uint16_t, values::next_u16>(machines);
  check_successors<std::int32_t, values::next_i32>(machines);
  check_successors<std::uint32_t, values::next_u32>(machines);
  check_successors<std::int64_t, values::next_i64>(machines);
  check_successors<std::uint64_t, values::next_u64>(machines);
  CHECK(fn<char32_t(char32_t), values::next_char>(machines)(U'\U0001f600') == U'\U0001f601');
  // Eight functions and more, one after the other: one machine.
  CHECK(machines.size() == 1);
}

TEST_CASE("floating-point numbers are computed as here", "[calls]") {
  pool<values> machines;
  fn<float(float), values::half> half(machines);
  CHECK(half(3) == 1.5f);
  CHECK(half(std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(half(std::numeric_limits<float>::infinity()) == std::numeric_limits<float>::infinity());
  fn<double(double), values::third> third(machines);
  CHECK(third(1) == 1.0 / 3);
  CHECK(third(-1e-310) == -1e-310 / 3);
  const double nan = third(std::numeric_limits<double>::quiet_NaN());
  CHECK(nan != nan);
}

TEST_CASE("bools and enums", "[calls]") {
  pool<values> machines;
  fn<bool(bool), values::invert> invert(machines);
  CHECK(invert(false));
  CHECK_FALSE(invert(true));
  fn<colour(colour), values::next_colour> next(machines);
  CHECK(next(colour::red) == colour::green);
  CHECK(next(colour::blue) == colour::red);
}

TEST_CASE("structs, and arguments of many kinds at once", "[calls]") {
  pool<values> machines;
  const padded twice = fn<padded(padded), values::doubled>(machines)({'a', 1.25, 21});
  CHECK(twice.tag == 'b');
  CHECK(twice.number == 2.5);
  CHECK(twice.small == 42);

  const block turned = fn<block(block), values::rotated>(machines)({{1, 2, 3, 4, 5, 6, 7, 8}});
  CHECK(std::to_array(turned.words) == std::array<std::uint64_t, 8>{2, 3, 4, 5, 6, 7, 8, 1});

  fn<std::uint32_t(std::int8_t, double, std::uint16_t, float, std::int64_t, bool, padded, colour),
     values::mixed>
      mixed(machines);
  CHECK(mixed(-5, 2.5, 60'000, -0.5f, INT64_MIN, true, {'x', 1e300, 7}, colour::blue) == 0);
  CHECK(mixed(5, 2.5, 60'000, 0.5f, INT64_MIN, true, {'x', 1e300, 8}, colour::red) == 0b1100'1001);
}

TEST_CASE("padding reaches a guest as zeros", "[calls]") {
  pool<raw> machines;
  fn<bytes<24>(padded), raw::bytes_of> bytes_of(machines);
  for (const unsigned fill : {0x00u, 0xffu, 0xa5u}) {
    const padded value = padded_over(static_cast<unsigned char>(fill), {'p', -1.5, 0x1234});
    check_bytes(bytes_of(value).span(), value);
  }
  fn<bytes<72>(std::span<const padded>), raw::bytes_of_three> bytes_of_three(machines);
  std::array<padded, 3> three;
  for (std::size_t i = 0; i < three.size(); ++i) {
    three[i] = padded_over(0xee, {static_cast<char>('0' + i), static_cast<double>(i), 7});
  }
  const auto seen = bytes_of_three(three);
  for (std::size_t i = 0; i < three.size(); ++i) {
    check_bytes(seen.span().subspan(i * sizeof(padded), sizeof(padded)), three[i]);
  }
}

TEST_CASE("spans of different alignments lie as their types ask", "[calls]") {
  pool<values> machines;
  fn<double(std::span<const std::uint8_t>, std::span<const double>, std::span<const std::uint16_t>,
            std::string_view, std::span<std::uint32_t>, std::span<const block>),
     values::several>
      several(machines);
  const std::array<std::uint8_t, 3> a{1, 2, 3};
  const std::array<double, 2> b{0.5, 1000};
  const std::array<std::uint16_t, 1> c{50'000};
  std::array<std::uint32_t, 3> out{7, 8, 9};
  const std::array<block, 2> e{block{{0, 0, 0, 0, 0, 0, 0, 100}},
                               block{{1, 0, 0, 0, 0, 0, 0, 200}}};
  for (std::size_t shorter = 0; shorter < 3; ++shorter) {
    out = {7, 8, 9};
    const double total = several(std::span(a).first(3 - shorter), b, c,
                                 std::string_view("abc").substr(shorter), out, e);
    const double bytes = shorter == 0 ? 6 : shorter == 1 ? 3 : 1;
    const double text = shorter == 0 ? 97 + 98 + 99 : shorter == 1 ? 98 + 99 : 99;
    CHECK(total == bytes + 1000.5 + 50'000 + text + 24 + 300);
    CHECK(out == std::array<std::uint32_t, 3>{~7u, ~8u, ~9u});
  }
}

TEST_CASE("spans that the guest changes are copied back, others are not", "[calls]") {
  pool<values> machines;
  std::array<padded, 3> items{padded{'a', 1, 1}, padded{'b', 2, 2}, padded{'c', 3, 3}};
  fn<void(std::span<padded>), values::reverse> reverse(machines);
  reverse(items);
  CHECK(items[0].tag == 'c');
  CHECK(items[0].number == 3);
  CHECK(items[2].small == 1);

  // Around the span, nothing is touched.
  std::vector<std::uint8_t> bytes(5000, 0x0f);
  fn<void(std::span<std::uint8_t>), values::invert_bytes> invert(machines);
  invert(std::span(bytes).subspan(1, bytes.size() - 2));
  CHECK(bytes.front() == 0x0f);
  CHECK(bytes.back() == 0x0f);
  bytes.front() = bytes.back() = 0xf0;
  CHECK(std::count(bytes.begin(), bytes.end(), 0xf0) == 5000);
}

TEST_CASE("empty spans may have no address at all", "[calls]") {
  pool<values> machines;
  fn<int(std::span<const int>, std::string_view, std::span<double>), values::filled> filled(
      machines);
  const std::array<int, 1> one{1};
  std::array<double, 1> number{2};
  CHECK(filled({}, {}, {}) == 0);
  CHECK(filled(one, {}, {}) == 1);
  CHECK(filled({}, "x", {}) == 2);
  CHECK(filled({}, {}, number) == 4);
  CHECK(filled(one, "x", number) == 7);
  CHECK(number[0] == 2);
}

TEST_CASE("a result of bounded size, and none at all", "[calls]") {
  pool<values> machines;
  fn<bytes<16>(std::string_view), values::echo> echo(machines);
  CHECK(echo("").text().empty());
  CHECK(echo("hello").text() == "hello");
  CHECK(echo("0123456789abcdef").text() == "0123456789abcdef");
  CHECK(echo("0123456789abcdef and more").text() == "0123456789abcdef");
  fn<void(), values::nothing> nothing(machines);
  nothing();
  CHECK(nothing.try_call().has_value());
}

TEST_CASE("arguments may fill the image's room to the last byte, and not one more", "[calls]") {
  pool<values> machines;
  using sig = std::uint64_t(std::span<const std::uint8_t>);
  fn<sig, values::ends> ends(machines);
  const std::size_t room = values::description.arguments_size - frame<sig>::size;
  std::vector<std::uint8_t> data(room + 1, 5);
  data.front() = 1;
  data[room - 1] = 2;
  CHECK(ends(std::span(data).first(room)) == room * 0x10000 + 0x102);

  const auto refused = ends.try_call(data);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == errc::arguments_too_large);
  CHECK(refused.error().detail == values::description.arguments_size + 1);
  CHECK_THROWS_AS(ends(data), failure);

  // Nothing of a long call is left for a short one, and a refused call costs no machine.
  fn<void(std::span<std::uint8_t>), values::invert_bytes> invert(machines);
  std::vector<std::uint8_t> all(values::description.arguments_size - 16, 0xff);
  invert(all);
  CHECK(std::count(all.begin(), all.end(), 0) == static_cast<std::ptrdiff_t>(all.size()));
  CHECK(ends(std::array<std::uint8_t, 1>{9}) == 0x10909);
  CHECK(machines.size() == 1);
}

TEST_CASE("a call does not see the arguments of the one before", "[calls]") {
  pool<raw> machines({.max = 1});
  fn<bytes<72>(std::span<const padded>), raw::bytes_of_three> bytes_of_three(machines);
  fn<std::uint8_t(std::uint32_t), raw::byte_at> byte_at(machines);
  const std::vector<padded> many(2000, {'x', 1e300, 0x7777});
  for (int round = 0; round < 2; ++round) {
    CHECK(bytes_of_three(many).size() == 72);
    for (std::uint32_t offset = 16; offset < raw::description.arguments_size; offset += 0xff8) {
      INFO("offset " << offset);
      CHECK(byte_at(offset) == 0);
    }
  }
  CHECK(machines.size() == 1);
}

TEST_CASE("sizes near the end of the number range do not wrap", "[calls]") {
  pool<values> machines;
  fn<double(std::span<const std::uint8_t>, std::span<const double>, std::span<const std::uint16_t>,
            std::string_view, std::span<std::uint32_t>, std::span<const block>),
     values::several>
      several(machines);
  std::uint32_t number = 7;
  const double value = 1;
  // Sound: a call that is refused touches no element.
  const std::span<const double> most(&value, SIZE_MAX / sizeof(double));
  const std::span<std::uint32_t> half(&number, SIZE_MAX / sizeof number / 2 + 1);
  for (const auto& refused :
       {several.try_call({}, most, {}, {}, {}, {}), several.try_call({}, {}, {}, {}, half, {}),
        several.try_call({}, most, {}, {}, half, {}),
        several.try_call({}, most.first(SIZE_MAX / 16 + 1), {}, {}, half, {})}) {
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::arguments_too_large);
    CHECK(refused.error().detail > values::description.arguments_size);
  }
  CHECK(number == 7);
  CHECK(several({}, {&value, 1}, {}, {}, {&number, 1}, {}) == 8);
}

TEST_CASE("a call throws what try_call returns", "[calls]") {
  fn<bool(std::uint8_t), raw::as_bool> as_bool;
  CHECK(as_bool(1));
  CHECK(as_bool.try_call(0).value() == false);
  try {
    static_cast<void>(as_bool(2));
    FAIL("no exception");
  } catch (const failure& why) {
    CHECK(why.error().code == errc::bad_reply);
    CHECK(std::string(why.what()).find("bad_reply") == 0);
  }
  CHECK(as_bool(1));
}

TEST_CASE("a reply that its type does not have changes nothing here", "[calls]") {
  pool<raw> machines;
  fn<bool(std::uint8_t), raw::as_bool> as_bool(machines);
  for (const unsigned bad : {2u, 0x80u, 0xffu}) {
    CHECK(as_bool.try_call(static_cast<std::uint8_t>(bad)).error().code == errc::bad_reply);
  }

  fn<colour(std::uint8_t, std::span<int>), raw::as_colour> as_colour(machines);
  std::array<int, 2> out{1, 2};
  for (const unsigned bad : {0u, 4u, 255u}) {
    const auto given = as_colour.try_call(static_cast<std::uint8_t>(bad), out);
    REQUIRE_FALSE(given.has_value());
    CHECK(given.error().code == errc::bad_reply);
    CHECK(out == std::array<int, 2>{1, 2});
  }
  CHECK(as_colour(3, out) == colour::blue);
  CHECK(out == std::array<int, 2>{77, 2});

  fn<interval(int, int), raw::as_interval> as_interval(machines);
  CHECK(as_interval(-1, 1).high == 1);
  CHECK(as_interval.try_call(1, -1).error().code == errc::bad_reply);

  fn<void(std::uint8_t, std::span<bool>), raw::set_bools> set_bools(machines);
  std::array<bool, 3> bools{};
  CHECK(set_bools.try_call(3, bools).error().code == errc::bad_reply);
  CHECK(bools == std::array<bool, 3>{});
  set_bools(0, bools);
  CHECK(bools == std::array<bool, 3>{true, true, false});
  CHECK(machines.size() == 1);
}

TEST_CASE("a forged length of a bounded result is not believed", "[calls]") {
  pool<raw> machines;
  fn<bytes<8>(std::uint64_t, std::span<std::uint8_t>), raw::as_bytes> as_bytes(machines);
  std::array<std::uint8_t, 1> out{3};
  for (const std::uint64_t size : {std::uint64_t{9}, std::uint64_t{1} << 32, UINT64_MAX}) {
    const auto given = as_bytes.try_call(size, out);
    REQUIRE_FALSE(given.has_value());
    CHECK(given.error().code == errc::bad_reply);
    CHECK(out[0] == 3);
  }
  CHECK(as_bytes(8, out).text() == "abcdefgh");
  CHECK(as_bytes(0, out).text().empty());
  CHECK(out[0] == 77);
}

TEST_CASE("one program calls several images", "[calls]") {
  virtine_fn<int(int), guests::square> square;
  virtine_fn<int(int), guests::square::only_entry> same;
  virtine_fn<int(int, int), guests::nasm_add> add;
  virtine_fn<unsigned long(std::string_view), guests::text> words;
  std::string logged;
  auto log = policy{allow<log_line>(
      [&](tainted<std::string_view> line) { logged += line.verify(at_most<100>).value(); })};
  virtine_fn<long(std::span<const int>), guests::math::sum, decltype(log)> sum(log);
  virtine_fn<bytes<64>(int), guests::math::describe, decltype(log)> describe(log);
  std::array<int, 100> numbers;
  std::iota(numbers.begin(), numbers.end(), 1);
  for (int i = 0; i < 3; ++i) {
    CHECK(square(i) == i * i);
    CHECK(same(-i) == i * i);
    CHECK(add(i, 40) == i + 40);
    CHECK(words("one two  three") == 3);
    CHECK(sum(numbers) == 5050);
    CHECK(describe(-7).text() == "minus 7 is odd");
  }
  CHECK(logged == "summedsummedsummed");
}

TEST_CASE("functions of one image share a pool, copies share their original's", "[calls]") {
  pool<values> machines({.max = 1});
  fn<std::int32_t(std::int32_t), values::next_i32> next(machines);
  fn<bool(bool), values::invert> invert(machines);
  auto copy = next;
  CHECK(next(1) == 2);
  CHECK(invert(true) == false);
  CHECK(copy(2) == 3);
  CHECK(machines.size() == 1);

  // Of a function with a pool of its own, the copy keeps that pool alive.
  fn<std::int32_t(std::int32_t), values::next_i32> outliving;
  {
    fn<std::int32_t(std::int32_t), values::next_i32> own;
    CHECK(own(3) == 4);
    outliving = own;
  }
  CHECK(outliving(4) == 5);
}

TEST_CASE("limits are of one call, not of the function", "[calls]") {
  fn<std::int32_t(std::int32_t), values::next_i32> next;
  CHECK(next.with({.timeout = 5s})(1) == 2);
  const auto limited = next.with({.timeout = 5s, .hypercalls = 0});
  CHECK(limited(2) == 3);
  CHECK(limited.try_call(3).value() == 4);
  CHECK(next(4) == 5);
}

TEST_CASE("a function of any image and policy can be held as one type", "[calls]") {
  std::vector<function<int(int)>> all;
  {
    // What is held shares the calls, pool and policy of what it was made of.
    const virtine_fn<int(int), guests::square> square;
    all.emplace_back(square);
    CHECK(square(2) == 4);
  }
  const function<int(int)> held = all.front();
  CHECK(held(3) == 9);
  CHECK(*held.try_call(4) == 16);
  CHECK(held.async(5).get() == 25);
  const std::array numbers{1, 2, 3};
  const auto each = held.each(numbers);
  REQUIRE(each.size() == 3);
  CHECK(*each[2] == 9);
  CHECK(held.together(numbers).value() == std::vector{1, 4, 9});
  const auto limited = held.with({.timeout = 0ns});
  CHECK(limited.try_call(1).error().code == errc::timed_out);
  CHECK(limited.together(numbers).error().job == 0);
}

TEST_CASE("what with() returns can be kept", "[calls]") {
  const auto kept = virtine_fn<int(int), guests::square>{}.with({.timeout = 10s});
  CHECK(kept(6) == 36);
}
