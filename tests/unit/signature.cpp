// Signature ids: what tells two function types apart, and what does not.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <virtine/abi/signature.hpp>
#include <virtine/bytes.hpp>

using namespace virtine;
using namespace virtine::detail;

namespace {

enum class colour : std::uint8_t {};
enum class shape : int {};
struct point {
  double x, y;
};
struct pair {
  std::int64_t first, second;
};
struct alignas(32) wide {
  char c;
};

static_assert(signature<void()> == "v()");
static_assert(signature<bool(bool)> == "b(b)");
static_assert(signature<char(signed char, unsigned char)> == "i1(i1,u1)");
static_assert(signature<short(unsigned short)> == "i2(u2)");
static_assert(signature<long(unsigned long, long long)> == "i8(u8,i8)");
static_assert(signature<float(double)> == "f4(f8)");
static_assert(signature<colour(shape)> == "eu1(ei4)");
static_assert(signature<std::byte()> == "eu1()");
static_assert(signature<void(std::span<const int>)> == "v([i4])");
static_assert(signature<void(std::span<int>)> == "v([=i4])");
static_assert(signature<void(std::span<const std::byte>)> == "v([eu1])");
static_assert(signature<void(std::span<const point>)> == "v([{16.8}])");
static_assert(signature<bytes<64>(std::string_view)> == "y64(s)");
static_assert(signature<bytes<1000000>()> == "y1000000()");
static_assert(signature<point(point, wide)> == "{16.8}({16.8},{32.32})");
static_assert(signature<std::array<char, 12>()> == "{12.1}()");

// What a guest reads is not what it fills, a bool not a number, an enum not its number.
static_assert(signature<void(std::span<int>)> != signature<void(std::span<const int>)>);
static_assert(signature<void(bool)> != signature<void(unsigned char)>);
static_assert(signature<void(colour)> != signature<void(std::uint8_t)>);
static_assert(signature<int(int)> != signature<unsigned(int)>);
static_assert(signature<int(int)> != signature<int(int, int)>);
static_assert(signature<int(std::string_view)> != signature<int(std::span<const char>)>);
// Names do not count, nor does where a parameter is const.
static_assert(signature<point()> == signature<pair()>);
static_assert(signature<long(const int)> == signature<long long(int)>);

static_assert(detail::is_sequence<std::span<int>> && detail::is_sequence<std::string_view>);
static_assert(!detail::is_sequence<std::string> && !detail::is_sequence<point>);
static_assert(detail::is_output<std::span<int>>() && !detail::is_output<std::span<const int>>());
static_assert(!detail::is_output<std::string_view>() && !detail::is_output<int>());
static_assert(detail::is_bytes<bytes<3>> && !detail::is_bytes<point>);

}  // namespace

TEST_CASE("a signature is the same text in every source file", "[signature]") {
  // The view must not refer to something local to this file.
  const std::string_view text = signature<bytes<64>(std::string_view, std::span<double>)>;
  CHECK(std::string(text) == "y64(s,[=f8])");
}

TEST_CASE("bytes<N> takes what fits and says what does not", "[signature]") {
  STATIC_REQUIRE(!std::is_constructible_v<bytes<4>, std::string_view>);
  STATIC_REQUIRE(!std::is_constructible_v<bytes<4>, char(&)[4]>);
  STATIC_REQUIRE(bytes<4>::from("abcd").has_value() && !bytes<4>::from("abcde").has_value());
  CHECK(bytes<4>::from("abcd")->text() == "abcd");
  CHECK(bytes<4>::from("")->text().empty());
  CHECK(bytes<4>::truncated("abcdef").text() == "abcd");
  CHECK(bytes<4>::truncated("abc").text() == "abc");
  CHECK(bytes<4>("a\0b").text() == std::string_view("a\0b", 3));
  bytes<4> text{"abcd"};
  CHECK(text.size() == 4);
  CHECK_FALSE(text.append(std::byte{'e'}));
  CHECK(text.text() == "abcd");
  bytes<4> other;
  CHECK(other.span().empty());
  CHECK(other.append(std::byte{'x'}));
  CHECK(other.text() == "x");
  static_assert(bytes<4>::capacity() == 4);
}
