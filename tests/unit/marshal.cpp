// The host's side of a frame: what is written for the guest, and what is taken from it.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include <virtine/call/marshal.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

constexpr std::uint64_t base = 0x40000;

struct gaps {
  char kind = 0;
  std::int32_t number = 0;
};

enum class colour : std::uint8_t { red = 1, green = 2 };

class area {
 public:
  explicit area(std::size_t size, std::byte fill = std::byte{0}) : bytes_(size, fill) {}

  operator std::span<std::byte>() { return bytes_; }  // NOLINT(google-explicit-constructor)
  operator std::span<const std::byte>() const {       // NOLINT(google-explicit-constructor)
    return bytes_;
  }

  template <class T>
  T get(std::size_t at) const {
    T value;
    REQUIRE(at + sizeof(T) <= bytes_.size());
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  template <class T>
  void put(std::size_t at, const T& value) {
    REQUIRE(at + sizeof(T) <= bytes_.size());
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
  }
  bool holds_only(std::byte value) const {
    return std::ranges::all_of(bytes_, [&](std::byte each) { return each == value; });
  }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

template <>
struct virtine::valid_reply<colour> {
  static constexpr bool check(colour value) {
    return value == colour::red || value == colour::green;
  }
};

TEST_CASE("arguments are written where the frame has them", "[marshal]") {
  area memory(64);
  const char small = 'c';
  const long large = -2;
  const bool flag = true;
  const detail::marshaller<int(char, long, bool)> call(small, large, flag);
  CHECK(call.used() == 32);
  REQUIRE(call.write(memory, guest_address{base}));
  CHECK(memory.get<int>(0) == 0);
  CHECK(memory.get<char>(4) == 'c');
  CHECK(memory.get<long>(8) == -2);
  CHECK(memory.get<unsigned char>(16) == 1);
}

TEST_CASE("elements follow the frame, aligned, and are referred to by guest address", "[marshal]") {
  area memory(256);
  const std::string_view text = "abc";
  const std::array<double, 3> numbers{1, 2, 3};
  const std::span<const double> values = numbers;
  const detail::marshaller<void(std::string_view, std::span<const double>)> call(text, values);
  REQUIRE(call.write(memory, guest_address{base}));
  const auto first = memory.get<sequence_reference>(0);
  const auto second = memory.get<sequence_reference>(16);
  CHECK(first.address == base + 32);
  CHECK(first.count == 3);
  CHECK(memory.get<std::array<char, 3>>(32) == std::array{'a', 'b', 'c'});
  CHECK(second.address == base + 40);
  CHECK(second.count == 3);
  CHECK(memory.get<std::array<double, 3>>(40) == numbers);
  CHECK(call.used() == 40 + 24);
}

TEST_CASE("empty sequences take no room and may lie at the very end", "[marshal]") {
  const std::string_view text;
  const std::span<int> values;
  const detail::marshaller<void(std::string_view, std::span<int>)> call(text, values);
  CHECK(call.used() == 32);
  area memory(32);
  REQUIRE(call.write(memory, guest_address{base}));
  CHECK(memory.get<sequence_reference>(0).count == 0);
  CHECK(memory.get<sequence_reference>(16).count == 0);
  CHECK(call.read(memory));
}

TEST_CASE("no byte of the host goes out in padding", "[marshal]") {
  alignas(gaps) std::array<std::byte, 3 * sizeof(gaps)> storage;
  storage.fill(std::byte{0xee});
  auto* const dirty = std::launder(reinterpret_cast<gaps*>(storage.data()));
  for (std::size_t i = 0; i < 3; ++i) {
    dirty[i].kind = 'k';
    dirty[i].number = 5;
  }
  const std::span<const gaps> list{dirty + 1, 2};
  const detail::marshaller<void(gaps, std::span<const gaps>)> call(dirty[0], list);
  area memory(128);
  REQUIRE(call.write(memory, guest_address{base}));
  for (std::size_t at : {std::size_t{0}, std::size_t{32}, 32 + sizeof(gaps)}) {
    CHECK(memory.get<char>(at) == 'k');
    CHECK(memory.get<std::array<char, 3>>(at + 1) == std::array<char, 3>{});
    CHECK(memory.get<std::int32_t>(at + 4) == 5);
  }
}

TEST_CASE("arguments that do not fit are refused before anything is written", "[marshal]") {
  const std::vector<char> many(100, 'x');
  const std::span<const char> span = many;
  const int number = 7;
  const detail::marshaller<int(int, std::span<const char>)> call(number, span);
  CHECK(call.used() == 32 + 100);
  area exact(132);
  CHECK(call.write(exact, guest_address{base}));
  area small(131, std::byte{0x55});
  const auto refused = call.write(small, guest_address{base});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::arguments_too_large);
  CHECK(refused.error().detail == 132);
  CHECK(small.holds_only(std::byte{0x55}));
}

TEST_CASE("the sum of lengths does not wrap to one that fits", "[marshal]") {
  // Spans that only claim to be so long: nothing may come to touch their elements.
  alignas(8) static std::array<char, 8> little{};
  const auto* const words = reinterpret_cast<const std::uint64_t*>(little.data());
  const auto claim = GENERATE(SIZE_MAX / 2, SIZE_MAX / 2 - 64, SIZE_MAX / 4 + 1);
  const std::span<const char> first{little.data(), claim};
  const std::span<const std::uint64_t> second{words, claim / 8 + 1};
  const std::span<const char> third{little.data(), claim};
  using marshaller =
      detail::marshaller<void(std::span<const char>, std::span<const std::uint64_t>,
                              std::span<const char>, std::span<const std::uint64_t>)>;
  const marshaller call(first, second, third, second);
  CHECK(call.used() > SIZE_MAX / 4);
}

TEST_CASE("a result is taken from the start of the frame", "[marshal]") {
  area memory(64);
  const int argument = 3;
  const detail::marshaller<long(int)> call(argument);
  memory.put<long>(0, 1234567890123);
  CHECK(call.read(memory).value() == 1234567890123);
}

TEST_CASE("outputs are copied back, inputs are not", "[marshal]") {
  area memory(256);
  std::array<int, 3> in{1, 2, 3};
  std::array<int, 3> out{4, 5, 6};
  const std::span<const int> input = in;
  const std::span<int> output = out;
  const detail::marshaller<void(std::span<const int>, std::span<int>)> call(input, output);
  REQUIRE(call.write(memory, guest_address{base}));
  CHECK(memory.get<std::array<int, 3>>(44) == out);
  memory.put(32, std::array<int, 3>{-1, -2, -3});
  memory.put(44, std::array<int, 3>{-4, -5, -6});
  REQUIRE(call.read(memory));
  CHECK(in == std::array<int, 3>{1, 2, 3});
  CHECK(out == std::array<int, 3>{-4, -5, -6});
}

TEST_CASE("what the guest makes of its references moves no byte of the host", "[marshal]") {
  area memory(256);
  std::array<int, 2> out{4, 5};
  const std::span<int> output = out;
  const detail::marshaller<void(std::span<int>)> call(output);
  REQUIRE(call.write(memory, guest_address{base}));
  memory.put(16, std::array<int, 2>{8, 9});
  memory.put(0, sequence_reference{UINT64_MAX, UINT64_MAX});
  REQUIRE(call.read(memory));
  CHECK(out == std::array<int, 2>{8, 9});
}

TEST_CASE("a reply that is no value of its type is refused", "[marshal]") {
  area memory(64);
  SECTION("bool") {
    const detail::marshaller<bool()> call;
    memory.put<std::uint8_t>(0, 1);
    CHECK(call.read(memory).value());
    memory.put<std::uint8_t>(0, 2);
    CHECK(call.read(memory).error().code == errc::bad_reply);
  }
  SECTION("enum") {
    const detail::marshaller<colour()> call;
    memory.put<std::uint8_t>(0, 2);
    CHECK(call.read(memory).value() == colour::green);
    memory.put<std::uint8_t>(0, 0);
    CHECK(call.read(memory).error().code == errc::bad_reply);
  }
  SECTION("bytes<N>") {
    const detail::marshaller<bytes<8>()> call;
    memory.put<std::uint64_t>(0, 8);
    CHECK(call.read(memory).value().size() == 8);
    memory.put<std::uint64_t>(0, 9);
    CHECK(call.read(memory).error().code == errc::bad_reply);
  }
}

TEST_CASE("of a reply that may change, only what is checked has to be copied first", "[marshal]") {
  SECTION("outputs of which any bytes are valid come from the guest's memory") {
    std::array<int, 2> numbers{1, 2};
    const std::span<int> output = numbers;
    const detail::marshaller<bool(std::span<int>)> call(output);
    const std::size_t elements = frame<bool(std::span<int>)>::size;
    REQUIRE(call.reply_size() == elements);
    area reply(elements);
    area memory(256);
    reply.put<std::uint8_t>(0, 1);
    memory.put<std::uint8_t>(0, 2);
    memory.put(elements, std::array<int, 2>{7, 8});
    CHECK(call.read(reply, memory).value());
    CHECK(numbers == std::array<int, 2>{7, 8});
  }
  SECTION("others come from the copy, in which they are checked") {
    std::array<bool, 3> flags{true, false, true};
    const std::span<bool> output = flags;
    const detail::marshaller<void(std::span<bool>)> call(output);
    const std::size_t elements = frame<void(std::span<bool>)>::size;
    REQUIRE(call.reply_size() == elements + 3);
    area reply(elements + 3);
    area memory(256);
    reply.put(elements, std::array<std::uint8_t, 3>{0, 1, 0});
    memory.put(elements, std::array<std::uint8_t, 3>{2, 2, 2});
    CHECK(call.read(reply, memory));
    CHECK(flags == std::array<bool, 3>{false, true, false});
  }
}

TEST_CASE("a bad reply changes none of the caller's memory", "[marshal]") {
  area memory(256);
  std::array<int, 2> numbers{1, 2};
  std::array<bool, 3> flags{true, false, true};
  const std::span<int> first = numbers;
  const std::span<bool> second = flags;
  const detail::marshaller<bool(std::span<int>, std::span<bool>)> call(first, second);
  REQUIRE(call.write(memory, guest_address{base}));
  const std::size_t elements = frame<bool(std::span<int>, std::span<bool>)>::size;
  memory.put(elements, std::array<int, 2>{7, 8});

  SECTION("the result is bad") {
    memory.put<std::uint8_t>(0, 3);
  }
  SECTION("the last element of the last output is bad") {
    memory.put<std::uint8_t>(elements + 8 + 2, 2);
  }
  CHECK(call.read(memory).error().code == errc::bad_reply);
  CHECK(numbers == std::array<int, 2>{1, 2});
  CHECK(flags == std::array<bool, 3>{true, false, true});

  memory.put<std::uint8_t>(0, 1);
  memory.put(elements + 8, std::array<std::uint8_t, 3>{0, 1, 0});
  CHECK(call.read(memory).value());
  CHECK(numbers == std::array<int, 2>{7, 8});
  CHECK(flags == std::array<bool, 3>{false, true, false});
}
