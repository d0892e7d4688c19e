// Values as bytes: no padding goes out, no value comes in that its type does not have.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>

#include <virtine/abi/object_bytes.hpp>

#include "../checked_enums.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

struct gaps {
  char kind = 0;
  // Three bytes of padding.
  std::int32_t number = 0;
  char last = 0;
  // Seven more.
  double real = 0;
};
struct nested {
  gaps inner;
  std::array<gaps, 2> more;
  bool flag = false;
};
struct tight {
  std::int32_t a = 0, b = 0;
};
struct measured {
  float a = 0, b = 0;
};
enum class depth : std::int16_t { low = -5, high = 5 };
enum class unchecked : std::uint8_t {};
struct even {
  int value = 0;
};
struct tagged {
  union {
    std::int32_t integer;
    float real;
  };
  bool is_real = false;
};

// Returns the bytes that encode() makes of a T whose storage held `dirt` before.
template <class T>
std::array<std::byte, sizeof(T)> encoded(unsigned char dirt, void (*set)(T&)) {
  alignas(T) std::array<std::byte, sizeof(T)> storage;
  std::memset(storage.data(), dirt, storage.size());
  // Members are written one by one, so the padding keeps its dirt, as it does on a stack.
  T* value = std::launder(reinterpret_cast<T*>(storage.data()));
  set(*value);
  std::array<std::byte, sizeof(T)> out;
  out.fill(std::byte{0x77});
  detail::encode(out.data(), *value);
  return out;
}

void fill(gaps& to) {
  to.kind = 'k';
  to.number = -1;
  to.last = 'l';
  to.real = 1.5;
}

template <class T, std::size_t N>
std::optional<T> decoded(const std::array<unsigned char, N>& from) {
  static_assert(N == sizeof(T));
  return detail::decode<T>(std::as_bytes(std::span(from)).data());
}

}  // namespace

template <>
struct virtine::valid_reply<depth> {
  static constexpr bool check(depth value) { return value >= depth::low && value <= depth::high; }
};
template <>
struct virtine::valid_reply<even> {
  static constexpr bool check(const even& value) { return value.value % 2 == 0; }
};

template <>
inline constexpr bool virtine::holds_no_pointer<tagged> = true;
template <>
struct virtine::valid_reply<tagged> {
  static constexpr bool check(std::span<const std::byte, sizeof(tagged)> from) {
    return std::to_integer<int>(from[offsetof(tagged, is_real)]) <= 1;
  }
};

static_assert(detail::is_opaque<tagged>() && !detail::may_hold_pointer<tagged>());
static_assert(detail::may_have_padding<gaps> && detail::may_have_padding<nested>);
static_assert(!detail::may_have_padding<tight> && !detail::may_have_padding<int>);
static_assert(!detail::may_have_padding<double>);
static_assert(detail::any_bytes_are_valid<int>() && detail::any_bytes_are_valid<std::byte>());
static_assert(detail::any_bytes_are_valid<gaps>() && !detail::any_bytes_are_valid<even>());
static_assert(!detail::any_bytes_are_valid<nested>());
static_assert(!detail::any_bytes_are_valid<bool>() && !detail::any_bytes_are_valid<colour>());
static_assert(!detail::any_bytes_are_valid<unchecked>() &&
              !detail::any_bytes_are_valid<bytes<4>>());
static_assert(detail::needs_valid_reply<unchecked>() && !detail::needs_valid_reply<colour>());
static_assert(!detail::needs_valid_reply<std::byte>() && !detail::needs_valid_reply<int>());

TEST_CASE("padding is zero whatever was in its place", "[object_bytes]") {
  const auto clean = encoded<gaps>(0, &fill);
  const auto dirty = encoded<gaps>(0xee, &fill);
  CHECK(clean == dirty);
  for (std::size_t at : {1U, 2U, 3U, 9U, 10U, 11U, 12U, 13U, 14U, 15U}) {
    INFO(at);
    CHECK(dirty[at] == std::byte{0});
  }
  CHECK(dirty[0] == std::byte{'k'});
  CHECK(dirty[4] == std::byte{0xff});
  CHECK(dirty[8] == std::byte{'l'});
  double real = 0;
  std::memcpy(&real, dirty.data() + 16, sizeof real);
  CHECK(real == 1.5);
}

TEST_CASE("padding is found in members, arrays and at the end", "[object_bytes]") {
  const auto set = [](nested& to) {
    fill(to.inner);
    fill(to.more[0]);
    fill(to.more[1]);
    to.flag = true;
  };
  const auto dirty = encoded<nested>(0xee, set);
  CHECK(dirty == encoded<nested>(0, set));
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(dirty[i * sizeof(gaps) + 1] == std::byte{0});
    CHECK(dirty[i * sizeof(gaps) + 8] == std::byte{'l'});
  }
  CHECK(dirty[3 * sizeof(gaps)] == std::byte{1});
  CHECK(dirty[3 * sizeof(gaps) + 1] == std::byte{0});
}

TEST_CASE("values without padding keep every byte", "[object_bytes]") {
  const auto pair = encoded<tight>(0xee, [](tight& to) { to = {.a = 0x01020304, .b = -1}; });
  CHECK(pair[0] == std::byte{4});
  CHECK(pair[7] == std::byte{0xff});
  const auto reals = encoded<measured>(0xee, [](measured& to) { to = {.a = -1.0F, .b = 2.0F}; });
  CHECK(reals[3] == std::byte{0xbf});
  CHECK(reals[7] == std::byte{0x40});
  const auto text = encoded<bytes<5>>(0, [](bytes<5>& to) { ::new (&to) bytes<5>("hello"); });
  CHECK(text[0] == std::byte{5});
  CHECK(text[8] == std::byte{'h'});
  CHECK(text[12] == std::byte{'o'});
  CHECK(text[13] == std::byte{0});
}

TEST_CASE("what was encoded is decoded", "[object_bytes]") {
  std::array<std::byte, sizeof(gaps)> storage;
  gaps value;
  fill(value);
  detail::encode(storage.data(), value);
  const auto back = detail::decode<gaps>(storage.data());
  REQUIRE(back);
  CHECK(back->kind == 'k');
  CHECK(back->number == -1);
  CHECK(back->last == 'l');
  CHECK(back->real == 1.5);
}

TEST_CASE("a bool is 0 or 1 and no other byte", "[object_bytes]") {
  CHECK(decoded<bool>(std::array<unsigned char, 1>{0}) == false);
  CHECK(decoded<bool>(std::array<unsigned char, 1>{1}) == true);
  for (unsigned value = 2; value < 256; ++value) {
    const std::array byte{static_cast<unsigned char>(value)};
    CHECK_FALSE(decoded<bool>(byte).has_value());
  }
}

TEST_CASE("an enum whose numbers are bools is checked like one", "[object_bytes]") {
  STATIC_REQUIRE(detail::holds_bool<verdict>() && !detail::holds_bool<colour>());
  CHECK(decoded<verdict>(std::array<unsigned char, 1>{0}) == verdict::bad);
  CHECK(decoded<verdict>(std::array<unsigned char, 1>{1}) == verdict::good);
  // Whatever valid_reply says: it is given none of these, because there are none.
  for (unsigned value = 2; value < 256; ++value) {
    const std::array byte{static_cast<unsigned char>(value)};
    CHECK_FALSE(decoded<verdict>(byte).has_value());
  }
  CHECK_FALSE(decoded<std::array<verdict, 2>>(std::array<unsigned char, 2>{1, 2}).has_value());
}

TEST_CASE("bools in classes and arrays are found and checked", "[object_bytes]") {
  struct answer {
    int number = 0;
    bool good = false;
    double real = 0;
    std::array<bool, 2> more{};
    long double wide = 0;
  };
  struct large {
    std::array<char, 2000> text{};
    int number = 0;
  };
  STATIC_REQUIRE(detail::holds_bool<answer>() && detail::holds_bool<nested>());
  STATIC_REQUIRE(!detail::any_bytes_are_valid<std::array<std::array<bool, 2>, 2>>());
  STATIC_REQUIRE(!detail::holds_bool<gaps>() && !detail::holds_bool<measured>());
  STATIC_REQUIRE(!detail::holds_bool<large>() &&
                 detail::any_bytes_are_valid<std::array<double, 4000>>());
  STATIC_REQUIRE(!detail::holds_bool<int>() && !detail::holds_bool<bytes<3000>>());

  for (const std::size_t at : {offsetof(answer, good), offsetof(answer, more) + 1}) {
    INFO(at);
    std::array<unsigned char, sizeof(answer)> image{};
    image[at] = 1;
    CHECK(decoded<answer>(image).has_value());
    image[at] = 2;
    CHECK_FALSE(decoded<answer>(image).has_value());
    image[at] = 0x80;
    CHECK_FALSE(decoded<answer>(image).has_value());
  }
  // No other byte is restricted, padding included.
  std::array<unsigned char, sizeof(answer)> full;
  full.fill(0xff);
  full[offsetof(answer, good)] = 1;
  full[offsetof(answer, more)] = 0;
  full[offsetof(answer, more) + 1] = 1;
  CHECK(decoded<answer>(full).has_value());

  using grid = std::array<std::array<bool, 2>, 2>;
  CHECK(decoded<grid>(std::array<unsigned char, 4>{0, 1, 1, 0}).has_value());
  CHECK_FALSE(decoded<grid>(std::array<unsigned char, 4>{0, 1, 1, 3}).has_value());
}

TEST_CASE("an enum is one of its valid numbers", "[object_bytes]") {
  CHECK(decoded<colour>(std::array<unsigned char, 1>{1}) == colour::red);
  CHECK(decoded<colour>(std::array<unsigned char, 1>{2}) == colour::green);
  for (unsigned value : {0U, 3U, 255U}) {
    const std::array byte{static_cast<unsigned char>(value)};
    CHECK_FALSE(decoded<colour>(byte).has_value());
  }
  CHECK(decoded<depth>(std::array<unsigned char, 2>{0xfb, 0xff}) == depth::low);
  CHECK_FALSE(decoded<depth>(std::array<unsigned char, 2>{0xfa, 0xff}).has_value());
  CHECK_FALSE(decoded<depth>(std::array<unsigned char, 2>{0x05, 0x01}).has_value());
  CHECK(decoded<std::byte>(std::array<unsigned char, 1>{0xff}) == std::byte{0xff});
}

TEST_CASE("each element of an array is checked", "[object_bytes]") {
  STATIC_REQUIRE(detail::needs_valid_reply<std::array<unchecked, 2>>());
  using colours = std::array<colour, 3>;
  CHECK(decoded<colours>(std::array<unsigned char, 3>{1, 2, 1}).has_value());
  CHECK_FALSE(decoded<colours>(std::array<unsigned char, 3>{1, 2, 3}).has_value());
  using evens = std::array<even, 2>;
  CHECK(decoded<evens>(std::array<unsigned char, 8>{4, 0, 0, 0, 6, 0, 0, 0}).has_value());
  CHECK_FALSE(decoded<evens>(std::array<unsigned char, 8>{4, 0, 0, 0, 7, 0, 0, 0}).has_value());
  using texts = std::array<bytes<8>, 2>;
  std::array<unsigned char, sizeof(texts)> image{};
  image[sizeof(bytes<8>)] = 8;
  CHECK(decoded<texts>(image).has_value());
  image[sizeof(bytes<8>)] = 9;
  CHECK_FALSE(decoded<texts>(image).has_value());
}

TEST_CASE("a type that nobody can see into is checked by its bytes", "[object_bytes]") {
  STATIC_REQUIRE(detail::is_opaque<tagged>() && !detail::any_bytes_are_valid<tagged>());
  std::array<unsigned char, sizeof(tagged)> image{};
  image.fill(0xff);
  image[offsetof(tagged, is_real)] = 1;
  CHECK(decoded<tagged>(image).has_value());
  image[offsetof(tagged, is_real)] = 2;
  CHECK_FALSE(decoded<tagged>(image).has_value());
  std::array<unsigned char, 2 * sizeof(tagged)> two{};
  CHECK(decoded<std::array<tagged, 2>>(two).has_value());
  two[sizeof(tagged) + offsetof(tagged, is_real)] = 2;
  CHECK_FALSE(decoded<std::array<tagged, 2>>(two).has_value());
}

TEST_CASE("a struct with a valid_reply is checked as a whole", "[object_bytes]") {
  CHECK(decoded<even>(std::array<unsigned char, 4>{4, 0, 0, 0})->value == 4);
  CHECK_FALSE(decoded<even>(std::array<unsigned char, 4>{5, 0, 0, 0}).has_value());
}

TEST_CASE("bytes<N> are no longer than N", "[object_bytes]") {
  const auto of_length = [](std::uint64_t length) {
    alignas(8) std::array<std::byte, sizeof(bytes<5>)> storage{};
    std::memcpy(storage.data(), &length, sizeof length);
    std::memcpy(storage.data() + sizeof length, "hello", 5);
    return detail::decode<bytes<5>>(storage.data());
  };
  CHECK(of_length(0)->text().empty());
  CHECK(of_length(3)->text() == "hel");
  CHECK(of_length(5)->text() == "hello");
  for (std::uint64_t length :
       {std::uint64_t{6}, std::uint64_t{8}, std::uint64_t{1} << 32, UINT64_MAX}) {
    CHECK_FALSE(of_length(length).has_value());
  }
}

TEST_CASE("bytes<N> inside a struct show no more than N bytes", "[object_bytes]") {
  struct reply {
    int code = 0;
    bytes<8> text;
  };
  alignas(reply) std::array<std::byte, sizeof(reply)> storage;
  storage.fill(std::byte{0xff});
  if (const auto given = detail::decode<reply>(storage.data())) {
    CHECK(given->text.size() <= 8);
    CHECK(given->text.span().size() <= 8);
    CHECK(given->text.text().size() <= 8);
  } else {
    SUCCEED("refused");
  }
}
