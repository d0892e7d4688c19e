// Calls with types known at run time: reading signatures, their frames, and what values become.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/abi/frame.hpp>
#include <virtine/call/marshal.hpp>
#include <virtine/call/value_marshal.hpp>
#include <virtine/dynamic_policy.hpp>
#include <virtine/value/codec.hpp>
#include <virtine/value/shape.hpp>

#include "fuzz/plain_guest.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

struct point {
  double x = 0, y = 0;
};
struct alignas(64) line {
  char c = 0;
};
struct odd {
  char of[3];
};
enum class colour : std::uint8_t { red = 1 };

/// Compares what the compiler made of a signature with what is read from its text.
template <class R, class... A>
bool has_one_frame(R (*)(A...)) {
  using typed = frame_layout<R(A...)>;
  const auto read = read_signature(signature<R(A...)>);
  if (!read || read->size != typed::size || read->places.size() != sizeof...(A)) return false;
  for (std::size_t i = 0; i < sizeof...(A); ++i) {
    if (read->places[i] != typed::offsets[i]) return false;
  }
  const std::array<extent, sizeof...(A)> rooms{
      extent{frame_slot<A>::size, frame_slot<A>::alignment}...};
  for (std::size_t i = 0; i < sizeof...(A); ++i) {
    const extent& room = read->arguments[i].room;
    if (room.size != rooms[i].size || room.alignment != rooms[i].alignment) return false;
  }
  return read->result.room.size == result_size<R>();
}
template <class Sig>
bool has_one_frame() {
  return has_one_frame(static_cast<Sig*>(nullptr));
}

/// What the bytes of a T in a frame are.
template <class T>
std::vector<std::byte> bytes_of(const T& of) {
  std::vector<std::byte> out(wire<T>::size);
  encode(out.data(), of);
  return out;
}

/// Says whether a value becomes the bytes that the compiler makes of `typed`, and these the value.
template <class T>
bool crosses(const value& as, const T& typed) {
  const std::string text = std::string(signature<T()>);
  const auto read = read_signature(text);
  value_encoder encoder;
  std::vector<std::byte> bytes(read->result.room.size);
  if (!encoder.write(read->result, as, nullptr)) return false;
  if (!encoder.write(read->result, as, bytes.data())) return false;
  const auto back = decode_value(read->result, bytes.data());
  return bytes == bytes_of(typed) && back && *back == as;
}

/// Returns what is wrong with a value.
template <class T>
std::string wrong(const value& as) {
  const std::string text = std::string(signature<void(T)>);
  const auto read = read_signature(text);
  const shape& type = read->arguments[0];
  value_encoder encoder;
  if (!type.is_sequence()) return encoder.write(type, as, nullptr) ? "" : encoder.why();
  const auto count = encoder.count(type, as);
  return count && encoder.write_elements(type, as, *count, nullptr) ? "" : encoder.why();
}

struct function {
  std::string text;
  std::string_view name = "total";
  call_shape types = *read_signature(text);

  result<value> run(std::span<value> arguments, const auto& guest) const {
    const value_marshaller call(*this, arguments);
    if (!call.check()) return call.check().error();
    std::vector<std::byte> area(4096);
    if (auto written = call.write(area, guest_address{0x40000}); !written) return written.error();
    guest(std::span(area));
    return call.read(area);
  }
};

constexpr auto idle = [](std::span<std::byte>) {};

std::string said(const result<value>& of) {
  return of ? "" : to_string(of.error());
}

}  // namespace

TEST_CASE("frames of types known at run time lie as the compiler has them", "[values]") {
  CHECK(has_one_frame<void()>());
  CHECK(has_one_frame<int()>());
  CHECK(has_one_frame<int(int)>());
  CHECK(has_one_frame<void(int)>());
  CHECK(has_one_frame<char(char, short, int, long)>());
  CHECK(has_one_frame<char(long, char)>());
  CHECK(has_one_frame<bool(unsigned char, unsigned short, unsigned, unsigned long)>());
  CHECK(has_one_frame<point(point, point)>());
  CHECK(has_one_frame<odd(odd, char, odd)>());
  CHECK(has_one_frame<char(line)>());
  CHECK(has_one_frame<line(char, line, std::string_view)>());
  CHECK(has_one_frame<float(float, double, long double, char)>());
  CHECK(has_one_frame<colour(colour, std::byte, bool)>());
  CHECK(has_one_frame<int(std::string_view)>());
  CHECK(has_one_frame<long(std::span<const int>, std::span<double>, bool)>());
  CHECK(has_one_frame<int(std::span<const point>, std::span<bytes<5>>, std::span<colour>)>());
  CHECK(has_one_frame<bytes<1>(bytes<5>, int, bytes<8>, bytes<9>)>());
  CHECK(has_one_frame<std::pair<char, long>(std::tuple<>, std::tuple<char>, char)>());
  CHECK(has_one_frame<std::tuple<bool, point, std::pair<char, short>>(std::tuple<long, char>)>());
  CHECK(has_one_frame<std::optional<int>(std::optional<char>, std::optional<line>, char)>());
  CHECK(has_one_frame<std::variant<int, char>(std::variant<bool, point, odd>, short)>());
  CHECK(has_one_frame<std::array<int, 3>(std::array<std::optional<int>, 3>, char)>());
  CHECK(has_one_frame<int(
            std::array<std::array<std::pair<char, int>, 2>, 5>,
            std::optional<std::variant<std::tuple<char, short>, std::optional<double>>>)>());
}

TEST_CASE("what is no signature is not read", "[values]") {
  for (const char* text : {"",
                           "i4",
                           "i4(",
                           "i4)",
                           "i4(i4",
                           "i4(i4,)",
                           "i4(,i4)",
                           "i4(i4))",
                           "i4()x",
                           "i3()",
                           "i16()",
                           "f2()",
                           "u()",
                           "u0()",
                           "u04()",
                           "v(v)",
                           "s()",
                           "[u1]()",
                           "i4([v])",
                           "i4([s])",
                           "i4([[u1]])",
                           "i4([u1)",
                           "i4([<i4>])",
                           "i4([oi4])",
                           "i4(<s>)",
                           "i4(o[u1])",
                           "es()",
                           "ef4()",
                           "eei4()",
                           "e<i4>()",
                           "y()",
                           "y0()",
                           "y99999999999999999999()",
                           "<i4()",
                           "<|>()",
                           "<|i4|()",
                           "o()",
                           "{4.4",
                           "{4}()",
                           "{0.1}()",
                           "{4.3}()",
                           "{6.4}()",
                           "{128.128}()",
                           "{4.0}()",
                           "{.}()",
                           "3*i4()",
                           "0*oi4()",
                           "*oi4()",
                           "3*()",
                           "3()",
                           "18446744073709551616*oi4()",
                           "4294967296*4294967296*oi4()",
                           "65536*65536*<>()",
                           "99999999*<i4>()",
                           "i4 (i4)",
                           "I4(i4)"}) {
    CAPTURE(text);
    CHECK_FALSE(read_signature(text));
    CHECK(signature_as_cpp(text) == text);
  }
  std::string_view zero("i4(i4\0)", 7);
  CHECK_FALSE(read_signature(zero));
  CHECK_FALSE(read_signature("i4(" + std::string(251, 'o') + "i4)"));
  CHECK(read_signature("i4(" + std::string(250, 'o') + "i4)"));
  CHECK_FALSE(read_signature("i4(" + std::string(200, '<') + ")"));
  CHECK_FALSE(read_signature("i4(" + std::string(120, '[') + ")"));
  CHECK_FALSE(read_signature(std::string(256, 'e')));
}

TEST_CASE("every prefix and every changed character of a signature is read or refused",
          "[values]") {
  const std::string text = "<i4,oi8>(s,[=u1],y5,3*<b,f4>,<|i1|{16.8}>,eu2)";
  REQUIRE(read_signature(text));
  std::size_t read = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    CHECK_FALSE(read_signature(text.substr(0, i)));
    for (int c = 1; c < 256; ++c) {
      std::string changed = text;
      changed[i] = static_cast<char>(c);
      if (const auto types = read_signature(changed)) {
        ++read;
        CHECK(types->size > 0);
        CHECK_FALSE(signature_as_cpp(changed).empty());
      }
    }
  }
  CHECK(read > text.size());
}

TEST_CASE("signatures are told as C++", "[values]") {
  CHECK(signature_as_cpp(signature<int(int, std::span<const unsigned char>)>) ==
        "int(int, std::span<const unsigned char>)");
  CHECK(signature_as_cpp(signature<void(std::string_view, std::span<double>, bool)>) ==
        "void(std::string_view, std::span<double>, bool)");
  CHECK(signature_as_cpp(signature<bytes<8>(colour, point, odd)>) ==
        "virtine::bytes<8>(enum : unsigned char, struct of 16 bytes aligned to 8, struct of 3 "
        "bytes)");
  CHECK(signature_as_cpp(signature<std::optional<long>(std::pair<short, float>)>) ==
        "std::optional<long>(std::tuple<short, float>)");
  CHECK(signature_as_cpp(signature<long double(std::array<std::variant<unsigned, char>, 2>)>) ==
        "long double(std::array<std::variant<unsigned, signed char>, 2>)");
}

TEST_CASE("values become the bytes that the compiler makes of them", "[values]") {
  CHECK(crosses(true, true));
  CHECK(crosses(-5, -5));
  CHECK(crosses(INT64_MIN, INT64_MIN));
  CHECK(crosses(UINT64_MAX, UINT64_MAX));
  CHECK(crosses(-128, static_cast<signed char>(-128)));
  CHECK(crosses(65535, static_cast<unsigned short>(65535)));
  CHECK(crosses(2.5, 2.5));
  CHECK(crosses(0.25, 0.25F));
  CHECK(crosses(std::numeric_limits<double>::infinity(), std::numeric_limits<float>::infinity()));
  CHECK(crosses(value::bytes(std::as_bytes(std::span("hello", 5))), bytes<9>("hello")));
  CHECK(crosses(value::bytes(bytes_of(point{1, 2})), point{1, 2}));
  CHECK(crosses(value::list({true, 3}), std::pair(true, 3)));
  CHECK(crosses(value::list({}), std::tuple<>()));
  CHECK(crosses(value(), std::optional<int>()));
  CHECK(crosses(7, std::optional(7)));
  CHECK(crosses(value::list({1, 'x'}), std::variant<int, char>('x')));
  CHECK(crosses(value::list({value::list({1, 2.0}), value::list({3, 4.0})}),
                std::array{std::pair(1, 2.0), std::pair(3, 4.0)}));
}

TEST_CASE("what is not of its type is told", "[values]") {
  CHECK(wrong<int>(3).empty());
  CHECK(wrong<int>("3") == "a text is not int");
  CHECK(wrong<int>(2.5) == "2.500000 is not int");
  CHECK(wrong<int>(true) == "true is not int");
  CHECK(wrong<int>(value()) == "nothing is not int");
  CHECK(wrong<int>(2147483648) == "2147483648 is not int, which is from -2147483648 to 2147483647");
  CHECK(wrong<int>(-2147483648).empty());
  CHECK(wrong<int>(-2147483649) ==
        "-2147483649 is not int, which is from -2147483648 to 2147483647");
  CHECK(wrong<std::uint8_t>(-1) == "-1 is not unsigned char, which is from 0 to 255");
  CHECK(wrong<std::int64_t>(UINT64_MAX) ==
        "18446744073709551615 is not long, which is from -9223372036854775808 to "
        "9223372036854775807");
  CHECK(wrong<bool>(1) == "1 is not bool");
  CHECK(wrong<double>(3).empty());
  CHECK(wrong<double>(INT64_MIN) == "-9223372036854775808 has more digits than double");
  CHECK(wrong<double>("x") == "a text is not double");
  CHECK(wrong<float>(1e39) == std::to_string(1e39) + " is too large for float");
  CHECK(wrong<bytes<4>>("12345") == "5 bytes are not virtine::bytes<4>");
  CHECK(wrong<bytes<4>>("1234").empty());
  CHECK(wrong<point>("1234") == "4 bytes are not struct of 16 bytes aligned to 8");
  CHECK(wrong<point>(3) == "3 is not struct of 16 bytes aligned to 8");
  CHECK(wrong<std::pair<int, bool>>(value::list({1})) ==
        "a list of 1 is not std::tuple<int, bool>");
  CHECK(wrong<std::pair<int, bool>>(value::list({1, 2})) == "part 1: 2 is not bool");
  CHECK(wrong<std::variant<int, bool>>(value::list({2, 2})) ==
        "a list of 2 is not the number of an alternative, and its value, of std::variant<int, "
        "bool>");
  CHECK(wrong<std::variant<int, bool>>(value::list({1, 2})) == "alternative 1: 2 is not bool");
  CHECK(wrong<std::optional<int>>("x") == "a text is not int");

  const std::array<double, 2> numbers{1, 2};
  const std::array<char, 3> characters{};
  CHECK(wrong<std::string_view>("text").empty());
  CHECK(wrong<std::string_view>(std::span(characters)).empty());
  CHECK(wrong<std::string_view>(std::as_bytes(std::span(numbers))).empty());
  CHECK(wrong<std::string_view>(std::span(numbers)) == "a span of double is not std::string_view");
  CHECK(wrong<std::string_view>(3) == "3 is not std::string_view");
  CHECK(wrong<std::string_view>(value::list({1})) == "a list of 1 is not std::string_view");
  CHECK(wrong<std::span<const double>>(std::span(numbers)).empty());
  CHECK(wrong<std::span<const double>>(value::list({1, 2.5})).empty());
  CHECK(wrong<std::span<const double>>(std::as_bytes(std::span(numbers))).empty());
  CHECK(wrong<std::span<const double>>(value::list({1, 2.5, "x"})) ==
        "element 2: a text is not double");
  CHECK(wrong<std::span<const float>>(std::span(numbers)) ==
        "a span of double is not std::span<const float>");
  CHECK(wrong<std::span<const double>>(value::bytes(std::as_bytes(std::span(characters)))) ==
        "3 bytes are not a number of elements of 8 bytes");
  CHECK(wrong<std::span<const double>>("12345678") == "a text is not std::span<const double>");
  CHECK(wrong<std::span<const unsigned char>>("12345678").empty());
  CHECK(wrong<std::span<const bool>>("12345678") == "a text is not std::span<const bool>");
  CHECK(wrong<std::span<const bool>>(value::bytes(std::as_bytes(std::span("\1\0\2", 3)))) ==
        "its bytes are not all of them values of bool");
  CHECK(wrong<std::span<const bool>>(value::list({true, false})).empty());
  CHECK(wrong<std::span<const std::byte>>(std::span(numbers)) ==
        "a span of double is not std::span<const enum : unsigned char>");
}

TEST_CASE("bytes that are no value of their type are refused", "[values]") {
  const auto refused = [](const char* type, std::initializer_list<int> bytes) {
    const auto read = read_signature(type);
    std::vector<std::byte> from(64);
    std::size_t at = 0;
    for (const int each : bytes) from[at++] = static_cast<std::byte>(each);
    return !decode_value(read->result, from.data());
  };
  CHECK(refused("b()", {2}));
  CHECK_FALSE(refused("b()", {1}));
  CHECK(refused("eb()", {255}));
  CHECK_FALSE(refused("eu1()", {255}));
  CHECK(refused("y5()", {6}));
  CHECK(refused("y5()", {0, 0, 0, 0, 0, 0, 0, 128}));
  CHECK_FALSE(refused("y5()", {5}));
  CHECK(refused("ob()", {2, 0}));
  CHECK(refused("ob()", {1, 2}));
  CHECK_FALSE(refused("ob()", {0, 2}));
  CHECK(refused("<|b|u1>()", {2, 0}));
  CHECK(refused("<|b|u1>()", {255, 0}));
  CHECK(refused("<|b|u1>()", {0, 2}));
  CHECK_FALSE(refused("<|b|u1>()", {1, 2}));
  CHECK(refused("<b,b>()", {1, 2}));
  CHECK(refused("2*<b>()", {1, 2}));
}

TEST_CASE("arguments of a call are counted and named", "[values]") {
  const function total{"i4(i4,[u1],b)"};
  std::vector<value> none;
  CHECK(said(total.run(none, idle)) == "bad_argument: total takes 3 arguments, and 0 are given");
  std::vector<value> one{3};
  CHECK(said(function{"i4()"}.run(one, idle)) ==
        "bad_argument: total takes 0 arguments, and 1 is given");
  std::vector<value> bad{3, value::list({1, 256}), true};
  CHECK(said(total.run(bad, idle)) ==
        "bad_argument: argument 2 of total: element 1: 256 is not unsigned char, which is from 0 "
        "to 255");
  CHECK(blame_of(total.run(bad, idle).error().code) == blame::caller);
  std::vector<value> large{3, std::string(5000, 'x'), true};
  CHECK(total.run(large, idle).error().code == errc::arguments_too_large);
}

TEST_CASE("the frame of values is that of the typed call", "[values]") {
  const std::array<double, 3> numbers{1, 2, 3};
  const std::span<const double> span(numbers);
  const std::string_view text = "five!";
  const char c = 'c';
  const detail::marshaller<int(char, std::string_view, std::span<const double>)> typed(c, text,
                                                                                       span);
  std::vector<std::byte> expected(4096);
  REQUIRE(typed.write(expected, guest_address{0x40000}));
  std::vector<value> values{'c', "five!", span};
  const function total{
      std::string(signature<int(char, std::string_view, std::span<const double>)>)};
  const auto reply = total.run(values, [&](std::span<std::byte> area) {
    CHECK(std::equal(area.begin(), area.end(), expected.begin()));
    const int result = -7;
    std::memcpy(area.data(), &result, sizeof result);
  });
  REQUIRE(reply);
  CHECK(*reply == value(-7));
}

TEST_CASE("outputs come back in whatever they were given", "[values]") {
  const function twice{"v([=i2])"};
  const auto doubling = [](std::span<std::byte> area) {
    std::uint64_t where[2];
    std::memcpy(where, area.data(), sizeof where);
    CHECK(where[1] == 2);
    for (std::size_t i = 0; i < where[1]; ++i) {
      std::int16_t number = 0;
      std::byte* const at = area.data() + (where[0] - 0x40000) + 2 * i;
      std::memcpy(&number, at, 2);
      number = static_cast<std::int16_t>(2 * number);
      std::memcpy(at, &number, 2);
    }
    // What the guest makes of the reference is of no consequence.
    std::memset(area.data(), 0xff, 16);
  };
  std::vector<value> list{value::list({1, -2})};
  CHECK(twice.run(list, doubling)->is_none());
  CHECK(list[0] == value::list({2, -4}));

  std::array<std::int16_t, 2> numbers{5, 6};
  std::vector<value> span{std::span(numbers)};
  REQUIRE(twice.run(span, doubling));
  CHECK(numbers == std::array<std::int16_t, 2>{10, 12});

  std::vector<value> raw{value::bytes(std::as_bytes(std::span(numbers)))};
  REQUIRE(twice.run(raw, doubling));
  CHECK(numbers == std::array<std::int16_t, 2>{10, 12});
  CHECK(raw[0].as<std::span<const std::byte>>()->front() == std::byte{20});

  std::vector<value> constant{std::span<const std::int16_t>(numbers)};
  CHECK(said(twice.run(constant, doubling)) ==
        "bad_argument: argument 1 of total: outputs cannot be written to a span of const elements");
  std::vector<value> empty{value::list({})};
  CHECK(twice.run(empty, idle));
}

TEST_CASE("a reply with one bad value changes nothing", "[values]") {
  const function f{"b([=i1],[=b])"};
  std::vector<value> arguments{"abc", value::list({true})};
  const std::vector<value> before = arguments;
  const auto spoil = [](std::size_t at) {
    return [at](std::span<std::byte> area) {
      area[48] = std::byte{'x'};
      area[at] = std::byte{2};
    };
  };
  CHECK(f.run(arguments, spoil(0)).error().code == errc::bad_reply);
  CHECK(arguments == before);
  CHECK(f.run(arguments, spoil(51)).error().code == errc::bad_reply);
  CHECK(arguments == before);
  REQUIRE(f.run(arguments, spoil(100)));
  CHECK(arguments[0] == value("xbc"));
}

TEST_CASE("values give back what they hold, without loss", "[values]") {
  CHECK(value(300).as<std::uint8_t>() == std::nullopt);
  CHECK(value(200).as<std::uint8_t>() == std::uint8_t{200});
  CHECK(value(-1).as<unsigned>() == std::nullopt);
  CHECK(value(-1).as<long>() == -1L);
  CHECK(value(UINT64_MAX).as<std::int64_t>() == std::nullopt);
  CHECK(value(1).as<bool>() == std::nullopt);
  CHECK(value(1).as<double>() == std::nullopt);
  CHECK(value("x").as<std::string_view>() == "x");
  CHECK(value("x").as<std::span<const std::byte>>()->size() == 1);
  CHECK(value(colour::red).as<int>() == 1);
  CHECK(value::list({1, 2}).as<std::span<const value>>()->size() == 2);
  CHECK(value().is_none());
  CHECK(value(true).kind() == value_kind::boolean);
  CHECK(value(1.5F).kind() == value_kind::floating);
  std::array<int, 2> numbers{};
  CHECK(value(std::span(numbers)).kind() == value_kind::elements);
}

TEST_CASE("each kind of value has a name and equals its like", "[values]") {
  std::array<int, 2> numbers{1, 2};
  std::array<int, 2> same{1, 2};
  std::array<long, 1> long_ones{1};
  const std::vector<std::pair<value, std::string>> all{
      {value(), "nothing"},
      {value(true), "a bool"},
      {value(1), "an integer"},
      {value(1.5F), "a floating-point number"},
      {value(std::string_view("x")), "a text"},
      {value::bytes(std::as_bytes(std::span(numbers))), "bytes"},
      {value::list({1}), "a list"},
      {value(std::span(numbers)), "a span"}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(name(all[i].first.kind()) == all[i].second);
    for (std::size_t j = 0; j < all.size(); ++j) CHECK((all[i].first == all[j].first) == (i == j));
  }
  CHECK(value(std::span(numbers)) == value(std::span(same)));
  same[1] = 3;
  CHECK_FALSE(value(std::span(numbers)) == value(std::span(same)));
  CHECK_FALSE(value(std::span(numbers)) == value(std::span(long_ones)));
  CHECK(value(-1) == value(-1L));
  CHECK_FALSE(value(-1) == value(UINT64_MAX));
}

// All are copied: otherwise a guest would have its host allocate its memory many times over.
TEST_CASE("large arguments of a hypercall by values lie in memory of their own", "[values]") {
  using texts = std::uint32_t(std::string_view, std::string_view);
  using layout = frame<texts>;
  constexpr std::uint64_t large = 65'537;
  constexpr std::uint64_t first = 4096;
  const value_hypercall count(1, std::string(signature<texts>), [](std::span<value> given) {
    return std::optional(
        value(given[0].as<std::string_view>()->size() + given[1].as<std::string_view>()->size()));
  });
  const auto accepts = [&](std::uint64_t size, std::uint64_t second, std::uint64_t second_size) {
    plain_guest guest(std::vector<std::byte>(first + 4 * large));
    const auto put = [&](std::size_t i, std::uint64_t at, std::uint64_t elements) {
      const sequence_reference where{.address = plain_guest::base + at, .count = elements};
      REQUIRE(guest.memory().write(guest_address{plain_guest::base + layout::offsets[i]},
                                   std::as_bytes(std::span(&where, 1))));
    };
    put(0, first + large, size);
    put(1, second, second_size);
    const auto served = count.serve(guest, guest_address{plain_guest::base});
    if (served) {
      CHECK(guest.memory().read<std::uint32_t>(guest_address{plain_guest::base}).value() ==
            size + second_size);
    } else {
      CHECK(served.error().code == errc::hypercall_rejected);
      CHECK(std::string(served.error().operation).find("same memory") != std::string::npos);
    }
    return served.has_value();
  };
  CHECK(accepts(large, first, large));
  CHECK(accepts(large, first + 2 * large, large));
  CHECK_FALSE(accepts(large, first + 1, large));
  CHECK_FALSE(accepts(large, first + 2 * large - 1, large));
  CHECK_FALSE(accepts(large, first + large, large));
  // Small ones may: the same text twice is nothing to mind.
  CHECK(accepts(large - 1, first + large, large));
  CHECK(accepts(large, first + large, large - 1));
}
