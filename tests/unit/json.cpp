// The JSON of virtine-run.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/value.hpp>

#include "../../guests/run/json.hpp"

using virtine::value;

namespace {

std::optional<value> read(std::string_view text) {
  return json::reader(text).read();
}
std::string written(const value& it) {
  std::string out;
  json::append(out, it);
  return out;
}

}  // namespace

TEST_CASE("JSON is read as values", "[json]") {
  CHECK(read("null") == value());
  CHECK(read(" true\n") == value(true));
  CHECK(read("false") == value(false));
  CHECK(read("0") == value(0));
  CHECK(read("-0") == value(0));
  CHECK(read("18446744073709551615") == value(UINT64_MAX));
  CHECK(read("-9223372036854775808") == value(INT64_MIN));
  CHECK(read("1.5") == value(1.5));
  CHECK(read("-2e3") == value(-2000.0));
  CHECK(read("1E-2") == value(0.01));
  CHECK(read("\"\"") == value(""));
  CHECK(read("\"a\\n\\\"\\\\\\/\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"") ==
        value("a\n\"\\/A\u00e9\u20ac\U0001f600"));
  CHECK(read("\"\u00e9\U0001f600\"") == value("\u00e9\U0001f600"));
  CHECK(read("\"a\\u0000b\"") == value(std::string("a\0b", 3)));
  CHECK(read("[]") == value::list({}));
  CHECK(read("[1, [2.5, \"x\"] , null]") == value::list({1, value::list({2.5, "x"}), value()}));
  CHECK(read("{\"hex\": \"00fF\"}") == value(std::vector<std::byte>{std::byte{0}, std::byte{255}}));
}

TEST_CASE("what is not JSON is refused, with the place", "[json]") {
  for (const std::string_view text : {"",
                                      " ",
                                      "nul",
                                      "tru",
                                      "1 2",
                                      "[1",
                                      "[1,",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "]",
                                      "+1",
                                      "01",
                                      "-",
                                      "--1",
                                      ".5",
                                      "1.",
                                      "1.e3",
                                      "-.5",
                                      "1e",
                                      "1e+",
                                      "0x1",
                                      "1e999",
                                      "18446744073709551616",
                                      "-9223372036854775809",
                                      "NaN",
                                      "Infinity",
                                      "\"",
                                      "\"a",
                                      "\"\\\"",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\udc00\"",
                                      "\"\n\"",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf5\x80\x80\x80\"",
                                      "\"\xe2\x82\"",
                                      "{}",
                                      "{\"a\": 1}",
                                      "{\"hex\": 1}",
                                      "{\"hex\": \"0\"}",
                                      "{\"hex\": \"0g\"}",
                                      "{\"hex\": \"-1\"}",
                                      "{\"hex\": \"00\"",
                                      "'a'"}) {
    CAPTURE(text);
    CHECK_FALSE(read(text));
  }
  json::reader reader("[1, x]");
  CHECK_FALSE(reader.read());
  CHECK(reader.problem() == "this is not JSON, at character 5: here should be a value");
  CHECK_FALSE(read(std::string(100'000, '[')));
  CHECK(read(std::string(100, '[') + std::string(100, ']')));
}

TEST_CASE("values are written as JSON that is read as the same", "[json]") {
  for (const value& each :
       {value(), value(true), value(-5), value(UINT64_MAX), value(0.1), value(1e300),
        value("a\"\\\n\t\x7f\u20ac"), value::list({}), value::list({1, value::list({"x"})})}) {
    CAPTURE(written(each));
    CHECK(read(written(each)) == each);
  }
  CHECK(written(2.0) == "2.0");
  CHECK(written(1e300) == "1e+300");
  CHECK(written(value::bytes(std::as_bytes(std::span("hi", 2)))) == "\"hi\"");
  CHECK(written(value::bytes(std::as_bytes(std::span("\xff", 1)))) == "{\"hex\": \"ff\"}");
  CHECK(written(std::string("a\0b", 3)) == "\"a\\u0000b\"");
  // What a terminal would take for the begin of a command.
  CHECK(written("\x1b[m\u009b[m\u00a0") == "\"\\u001b[m\\u009b[m\u00a0\"");
  CHECK(read(written("\u0080\u009f")) == value("\u0080\u009f"));
  CHECK(written(std::numeric_limits<double>::infinity()) == "\"inf\"");
}
