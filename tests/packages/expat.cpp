// expat in a guest: the events and errors of the host's, and documents made to harm whoever reads
// them.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <guests/expat.hpp>
#include <virtine/virtine.hpp>

#include "guests/expat_calls.hpp"

using namespace virtine;
using namespace std::chrono_literals;
using expat_calls::outcome;

namespace {

using parse_fn = virtine_fn<outcome(std::string_view, std::span<char>, std::uint64_t, float),
                            guests::expat::parse>;

// Entities, each of which is the one before it ten times.
std::string entities(int levels) {
  std::string out = "<!DOCTYPE l [<!ENTITY l0 \"lol\">";
  for (int i = 1; i <= levels; ++i) {
    out += "<!ENTITY l" + std::to_string(i) + " \"";
    for (int k = 0; k < 10; ++k) out += "&l" + std::to_string(i - 1) + ";";
    out += "\">";
  }
  return out + "]>";
}

std::string laughs(int levels) {
  return entities(levels) + "<l>&l" + std::to_string(levels) + ";</l>";
}

}  // namespace

TEST_CASE("expat parses in a guest", "[expat]") {
  parse_fn parse;
  const std::string_view xml =
      "<?xml version='1.0' encoding='UTF-8'?>\n<!-- no event --><a x='1' y=\"&lt;&#65;\">"
      "t&amp;t<b/><![CDATA[<raw>]]><?pi no event?></a>";
  std::string out(200, '.');
  const outcome done = parse(xml, out, 1, 0);
  CHECK(done.error == XML_ERROR_NONE);
  CHECK(out.substr(0, done.size) == "(a x=1 y=<A\nt&t(b\n)b\n<raw>)a\n");
  CHECK(out[done.size] == '.');
}

TEST_CASE("documents end in the events and the error that the host's expat gives", "[expat]") {
  parse_fn parse;
  const struct {
    std::string_view xml;
    XML_Error error;
  } documents[] = {
      {"<doc/>", XML_ERROR_NONE},
      {"", XML_ERROR_NO_ELEMENTS},
      {"<", XML_ERROR_UNCLOSED_TOKEN},
      {"<a>", XML_ERROR_NO_ELEMENTS},
      {"<a></b>", XML_ERROR_TAG_MISMATCH},
      {"<a/><b/>", XML_ERROR_JUNK_AFTER_DOC_ELEMENT},
      {"<a x='1' x='2'/>", XML_ERROR_DUPLICATE_ATTRIBUTE},
      {"<a>\n\n &unknown; </a>", XML_ERROR_UNDEFINED_ENTITY},
      {"<a>&#0;</a>", XML_ERROR_BAD_CHAR_REF},
      {"<a>\x01</a>", XML_ERROR_INVALID_TOKEN},
      {"<a>\xc3</a>", XML_ERROR_INVALID_TOKEN},
      {"<a>\xed\xa0\x80</a>", XML_ERROR_INVALID_TOKEN},
      {" <?xml version='1.0'?><a/>", XML_ERROR_MISPLACED_XML_PI},
      {"<?xml version='1.0' encoding='none-such'?><a/>", XML_ERROR_UNKNOWN_ENCODING},
      {"<!DOCTYPE a [<!ENTITY e '&e;'>]><a>&e;</a>", XML_ERROR_RECURSIVE_ENTITY_REF},
      {"<a><![CDATA[</a>", XML_ERROR_UNCLOSED_CDATA_SECTION},
  };
  for (const auto& document : documents) {
    INFO(document.xml);
    std::string here(100, '.');
    std::string there(100, '.');
    const outcome expected = expat_calls::parse(document.xml, here, 1, 0);
    CHECK(expected.error == document.error);
    CHECK(parse(document.xml, there, 1, 0) == expected);
    CHECK(here == there);
  }
}

TEST_CASE("a document with many names and levels", "[expat]") {
  parse_fn parse;
  std::string xml;
  constexpr int levels = 2'000;
  for (int i = 0; i < levels; ++i) xml += "<n" + std::to_string(i) + ">";
  for (int i = levels; i-- > 0;) xml += "</n" + std::to_string(i) + ">";
  std::string here(30'000, '.');
  std::string there(30'000, '.');
  const outcome expected = expat_calls::parse(xml, here, 1, 0);
  CHECK(expected.error == XML_ERROR_NONE);
  CHECK(parse(xml, there, 1, 0) == expected);
  CHECK(here == there);
}

TEST_CASE("a billion laughs end at a limit", "[expat]") {
  parse_fn parse;
  std::string out(100, '.');
  CHECK(parse(laughs(2), out, 1, 0).size == 3 * 100 + 2 * 3);
  // Expat's own limit is on what comes of 8 MiB and more.
  const auto own = parse.try_call(laughs(9), out, 1, 0.0F);
  REQUIRE(own.has_value());
  CHECK(own->error == XML_ERROR_AMPLIFICATION_LIMIT_BREACH);
  // Without it, the caller's.
  const auto none = parse.with({.timeout = 50ms}).try_call(laughs(9), out, 1, 1e30F);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == errc::timed_out);
  CHECK(parse("<a/>", out, 1, 0).error == XML_ERROR_NONE);
}

TEST_CASE("a document that needs more memory than the guest has", "[expat]") {
  parse_fn parse;
  std::string out(10, '.');
  CHECK(parse(entities(3) + "<l a='&l3;'/>", out, 1, 0).size == 3 * 1000 + 9);
  // Expat keeps an attribute's value, of 3 MB here, and wants twice of that to let it grow.
  const std::string large = entities(6) + "<l a='&l6;'/>";
  CHECK(expat_calls::parse(large, out, 1, 1e30F).error == XML_ERROR_NONE);
  CHECK(parse(large, out, 1, 1e30F).error == XML_ERROR_NO_MEMORY);
  CHECK(parse("<a/>", out, 1, 0).error == XML_ERROR_NONE);
}
