// What scripts can do, what ends them, and that nothing of them is left: the example's tests.
// SPDX-License-Identifier: MIT
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"

#include "../evaluator.hpp"
#include "../functions.hpp"

using namespace std::chrono_literals;
using virtine::errc;

namespace {

using lines = std::vector<std::string>;

auto make_policy(lines& log) {
  return virtine::policy{
      virtine::allow<js::log>([&log](virtine::tainted<std::string_view> text) {
        log.emplace_back(text.verify(virtine::at_most<100>).value_or("too long"));
      }),
      virtine::allow<js::get>(
          [](virtine::tainted<std::string_view> key) -> virtine::answer<js::found> {
            const std::string_view name = key.unverified_because("it is only compared");
            if (name == "refused") return virtine::reject{};
            if (name == "smile") {
              return js::found{.exists = 1, .text = virtine::bytes<4000>("\U0001f600")};
            }
            if (name != "colour") return js::found{};
            return js::found{.exists = 1, .text = virtine::bytes<4000>("blue")};
          })};
}
using policy_type = decltype(make_policy(std::declval<lines&>()));

struct fixture {
  lines log;
  js::evaluator<policy_type> evaluate{make_policy(log)};

  std::string value_of(std::string_view script, std::string_view input = "null") {
    const auto done = evaluate(script, input);
    INFO(script);
    if (!done) FAIL(virtine::to_string(done.error()));
    if (done->threw) FAIL(done->text);
    CHECK(done->is_whole);
    return done->text;
  }

  js::evaluated thrown_by(std::string_view script, std::string_view input = "null") {
    auto done = evaluate(script, input);
    INFO(script);
    if (!done) FAIL(virtine::to_string(done.error()));
    CHECK(done->threw);
    return *std::move(done);
  }

  errc failure_of(std::string_view script) {
    const auto done = evaluate(script, "null", {.limits = {.timeout = 100ms}});
    INFO(script);
    REQUIRE_FALSE(done);
    return done.error().code;
  }
};

}  // namespace

TEST_CASE_METHOD(fixture, "a script's last value is given as JSON", "[js]") {
  CHECK(value_of("1 + 1") == "2");
  CHECK(value_of("'a' + \"b\"") == R"("ab")");
  CHECK(value_of("({b: [1, null, true], a: {}})") == R"({"b":[1,null,true],"a":{}})");
  CHECK(value_of("var x = 7; x * 6;") == "42");
  CHECK(value_of("Math.sqrt(2)") == "1.4142135623730951");
  CHECK(value_of("[0.1 + 0.2, 1e21, -0, 1 / 0]") == "[0.30000000000000004,1e+21,0,null]");
  CHECK(value_of("/(\\d+)-(\\d+)/.exec('tel 12-34').slice(1)") == R"(["12","34"])");
  CHECK(value_of("[3, 1, 2].sort().map(function (n) { return n * n })") == "[1,4,9]");
  for (const char* nothing : {"", "undefined", "(function () {})", "var x;", "null"}) {
    CHECK(value_of(nothing) == "null");
  }
}

TEST_CASE_METHOD(fixture, "a script finds its input", "[js]") {
  CHECK(value_of("input") == "null");
  CHECK(value_of("input.a[1] + input.b", R"({"a": [1, 2], "b": 40})") == "42");
  CHECK(value_of("input", R"("\u00e4 \" \\ \n")") == "\"\u00e4 \\\" \\\\ \\n\"");
  const std::string large(100'000, 'x');
  CHECK(value_of("input.length", '"' + large + '"') == "100000");
  CHECK(thrown_by("input", "{not JSON").text.starts_with("SyntaxError"));
  CHECK(thrown_by("input", "").text.starts_with("SyntaxError"));
}

TEST_CASE_METHOD(fixture, "texts are UTF-8", "[js]") {
  CHECK(value_of("'\u00e4\u20ac\U0001f600'") == "\"\u00e4\u20ac\U0001f600\"");
  CHECK(value_of(R"('\u00e4\u20ac\ud83d\ude00')") == "\"\u00e4\u20ac\U0001f600\"");
  CHECK(value_of("input", "\"\U0001f600\"") == "\"\U0001f600\"");
  // The same text is the same string, whether it comes from the script, the input or the host.
  CHECK(value_of("input === '\U0001f600' && input === '\\ud83d\\ude00' && input.length",
                 "\"\U0001f600\"") == "2");
  CHECK(value_of("get('smile') === '\U0001f600'") == "true");
  CHECK(value_of("input", "\"a\U0010ffff\U00010000b\"") == "\"a\U0010ffff\U00010000b\"");
  for (const char* broken : {"\"\xf0\"", "\"\xf4\x90\x80\x80\"", "\"\xf0\x9f\x98\"", "\xff"}) {
    CHECK(evaluate("input", broken).has_value());
  }
  // Half a character has no UTF-8.
  CHECK(value_of(R"('\ud83d')") == "\"\ufffd\"");
  CHECK(value_of(R"('\ude00\ud83dx\ud83d\ud83d\ude00')") == "\"\ufffd\ufffdx\ufffd\U0001f600\"");
  CHECK(thrown_by(R"(throw '\ud83d\ude00')").text == "\U0001f600");
}

TEST_CASE_METHOD(fixture, "what a script throws is told with its line", "[js]") {
  const auto error = thrown_by("var a = 1;\n\nthrow new TypeError('no such thing');");
  CHECK(error.text == "TypeError: no such thing");
  CHECK(error.line == 3);

  const auto missing = thrown_by("\nnothing.at.all");
  CHECK(missing.text == "ReferenceError: identifier 'nothing' undefined");
  CHECK(missing.line == 2);

  const auto syntax = thrown_by("1;\n2;\nif (");
  CHECK(syntax.text.starts_with("SyntaxError"));
  CHECK(syntax.line == 3);

  CHECK(thrown_by("throw 'a text'").text == "a text");
  CHECK(thrown_by("throw 42").text == "42");
  CHECK(thrown_by("throw undefined").text == "undefined");
  CHECK(thrown_by("throw {toString: function () { return 'mine' }}").text == "mine");
  CHECK(thrown_by("({toJSON: function () { throw new Error('late') }})").text == "Error: late");
}

TEST_CASE_METHOD(fixture, "what cannot be described is still thrown", "[js]") {
  constexpr std::string_view cannot =
      "what was thrown cannot be described: that throws, or finds no memory";
  CHECK(thrown_by("throw {toString: function () { throw this }}").text == cannot);
  CHECK(thrown_by("throw Object.create(null)").text == cannot);
  CHECK(thrown_by("var e = new Error('x');\n"
                  "Object.defineProperty(e, 'lineNumber', {get: function () { throw e }});\n"
                  "throw e")
            .text == cannot);
  CHECK(thrown_by("var e = new Error('x'); e.lineNumber = 'nine'; throw e").line == 0);
  CHECK(thrown_by("var e = new Error('x'); e.lineNumber = {}; throw e").line == 0);
}

TEST_CASE_METHOD(fixture, "a text that is too long is cut off, and that is told", "[js]") {
  const auto done = evaluate("'0123456789'", "null", {.text_max = 5});
  REQUIRE(done);
  CHECK(done->text == "\"0123");
  CHECK_FALSE(done->is_whole);
  const auto fits = evaluate("'012'", "null", {.text_max = 5});
  REQUIRE(fits);
  CHECK(fits->text == "\"012\"");
  CHECK(fits->is_whole);
  const auto none = evaluate("1", "null", {.text_max = 0});
  REQUIRE(none);
  CHECK(none->text.empty());
  CHECK_FALSE(none->is_whole);
}

TEST_CASE_METHOD(fixture, "scripts call the host's functions", "[js]") {
  CHECK(value_of("log('one'); log('two'); get('colour')") == "\"blue\"");
  CHECK(log == lines{"one", "two"});
  CHECK(value_of("get('size') === undefined") == "true");
  CHECK(value_of("['colour', 'size'].map(get)") == R"(["blue",null])");
  CHECK(thrown_by("log(1)").text.starts_with("TypeError"));
  CHECK(thrown_by("get()").text.starts_with("TypeError"));
  CHECK(thrown_by("log(Symbol('x'))").text.starts_with("TypeError"));
  CHECK(
      thrown_by("get({toString: function () { return 'colour' }})").text.starts_with("TypeError"));
  CHECK(value_of("new Array(100000).join('k').length + (get(new Array(100000).join('k')) || '')") ==
        "\"99999\"");
  // A handler that refuses ends the call; the script cannot catch that.
  CHECK(failure_of("try { get('refused') } catch (e) {} 1") == errc::hypercall_rejected);
}

TEST_CASE_METHOD(fixture, "calls of the host's functions are limited", "[js]") {
  const auto flood = evaluate("for (;;) get('size')", "null", {.limits = {.hypercalls = 100}});
  REQUIRE_FALSE(flood);
  CHECK(flood.error().code == errc::hypercall_limit);
  CHECK(value_of("1") == "1");
}

TEST_CASE_METHOD(fixture, "nothing of an evaluation is left for the next", "[js]") {
  for (const char* change : {
           "var secret = 'known'",
           "secret = 'known'; this.other = 1",
           "Object.prototype.secret = 'known'",
           "Array.prototype.map = String.prototype.charAt = undefined",
           "delete this.JSON; delete Object; Math = null; undefined",
           "log = get = function () { return 'mine' }; null",
           "Object.freeze(Object.prototype); Object.preventExtensions(this); 0",
           "JSON.stringify = function () { return 'mine' }; JSON.parse = JSON.stringify; 0",
           "Error.prototype.toString = function () { return 'mine' }; 0",
       }) {
    CHECK(evaluate(change).has_value());
    CHECK(value_of("[typeof secret, typeof other, typeof ({}).secret]") ==
          R"(["undefined","undefined","undefined"])");
    CHECK(value_of("var mine = [1].map(function (n) { return n + Math.abs(-1) }); mine[0]") == "2");
    CHECK(value_of("JSON.stringify(get('colour'))") == R"("\"blue\"")");
    CHECK(thrown_by("throw new Error('x')").text == "Error: x");
  }
}

TEST_CASE_METHOD(fixture, "scripts have the time of their call", "[js]") {
  const auto at = [&](std::int64_t milliseconds, std::string_view script) {
    const std::chrono::system_clock::time_point now{std::chrono::milliseconds(milliseconds)};
    return evaluate(script, "null", {.now = now}).value().text;
  };
  CHECK(at(1234567890123, "Date.now()") == "1234567890123");
  CHECK(at(1234567890123, "new Date()") == "\"2009-02-13T23:31:30.123Z\"");
  CHECK(at(1234567890123, "new Date().getHours()") == "23");
  CHECK(at(1234567890123, "new Date(2009, 1, 13, 23, 31, 30) - new Date()") == "-123");
  CHECK(at(1234567890123, "new Date('Fri Feb 13 23:31:30 2009') - new Date()") == "-123");
  CHECK(at(-1, "new Date()") == "\"1969-12-31T23:59:59.999Z\"");
  CHECK(at(0, "Date.now()") == "0");
  const auto before = std::chrono::system_clock::now().time_since_epoch() / 1ms;
  const auto said = std::stoll(value_of("Date.now()"));
  const auto after = std::chrono::system_clock::now().time_since_epoch() / 1ms;
  CHECK(before <= said);
  CHECK(said <= after);
}

TEST_CASE_METHOD(fixture, "evaluations depend on nothing else than what they are given", "[js]") {
  const std::string first = value_of("[Math.random(), Math.random()]");
  CHECK(value_of("[Math.random(), Math.random()]") == first);
}

TEST_CASE_METHOD(fixture, "an endless script ends at its deadline", "[js]") {
  for (const char* endless : {
           "for (;;) {}",
           "try { while (true) {} } finally { while (true) {} }",
           "({toJSON: function () { for (;;) {} }})",
           "throw {toString: function () { for (;;) {} }}",
           "/(a*)*(a*)*(a*)*b/.exec(new Array(5000).join('a'))",
           "new Array(1e9).join('x')",
           "var a; for (;;) a = [a, a]",
       }) {
    INFO(endless);
    const auto done = evaluate(endless, "null", {.limits = {.timeout = 50ms}});
    CHECK((done ? done->threw : done.error().code == errc::timed_out));
    CHECK(value_of("6 * 7") == "42");
  }
  CHECK(failure_of("for (;;) {}") == errc::timed_out);
}

TEST_CASE_METHOD(fixture, "a script that wants too much memory gets an error", "[js]") {
  for (const char* bomb : {
           "var a = []; for (;;) a.push('x' + a.length)",
           "var s = 'x'; for (;;) s += s",
           "new Uint8Array(1 << 30)",
           "var a = []; for (;;) a.push(new Uint8Array(100000))",
           "var o = {}; for (var i = 0;; ++i) o['k' + i] = {}",
       }) {
    const auto done = thrown_by(bomb);
    CHECK((done.text == "Error: alloc failed" || done.text.starts_with("RangeError")));
    CHECK(value_of("6 * 7") == "42");
  }
  // What these leave has no room even for a description of the error.
  for (const char* flood : {
           "var a = []; for (;;) a.push([])",
           "var f = null; for (;;) f = {f: f}",
           "(function () { var a = []; for (;;) a.push([]) })()",
       }) {
    const auto done = evaluate(flood);
    if (!done) FAIL(flood << ": " << virtine::to_string(done.error()));
    CHECK(done->threw);
    CHECK_FALSE(done->text.empty());
  }
  CHECK(value_of("try { new Uint8Array(1 << 30) } catch (e) { 'caught' }") == "\"caught\"");
}

TEST_CASE_METHOD(fixture, "recursion that is too deep is a RangeError", "[js]") {
  const auto nested = [](const char* open, int depth, const char* close) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += open;
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  for (const std::string& deep : {
           std::string("function f() { return f() + 1 } f()"),
           std::string("function f() { return [1].map(f) } f()"),
           std::string("var o = {toString: function () { return '' + o }}; '' + o"),
           std::string("function f() { eval('f()') } f()"),
           std::string("var a = []; for (var i = 0; i < 1e5; ++i) a = [a]; JSON.stringify(a)"),
           std::string("new RegExp(new Array(1e5).join('(') + new Array(1e5).join(')'))"),
           std::string("new RegExp('(?:' + new Array(2e4).join('(?:x|') + new Array(2e4).join(')') "
                       "+ ')*').exec(new Array(1e5).join('x'))"),
           std::string("JSON.parse(new Array(1e5).join('['))"),
           std::string("var f = Array; for (var i = 0; i < 1e5; ++i) f = f.bind(null); f()"),
           std::string("var p = {}; for (var i = 0; i < 1e5; ++i) p = Object.create(p); p.x"),
           nested("(", 20'000, ")"),
           nested("[", 20'000, "]"),
           nested("{", 20'000, "}"),
           nested("function f() {", 5'000, "}"),
           nested("!", 50'000, "") + "1",
           nested("a ? ", 20'000, ": 1"),
       }) {
    INFO(deep.substr(0, 80));
    // What the engine itself does not mind is no error.
    const auto done = evaluate(deep);
    if (!done) FAIL(virtine::to_string(done.error()));
    if (done->threw)
      CHECK((done->text.starts_with("RangeError") || done->text.starts_with("SyntaxError") ||
             done->text == "Error: alloc failed"));
    CHECK(value_of("6 * 7") == "42");
  }
  CHECK(thrown_by("function f() { return f() + 1 } f()").text == "RangeError: callstack limit");
}

TEST_CASE_METHOD(fixture, "scripts of any words do no harm", "[js]") {
  constexpr std::array words{
      "var ",        "a",          "b",       "=",          "+",         "(",     ")",
      "[",           "]",          "{",       "}",          ";",         ",",     "function ",
      "return ",     "for",        "while",   "1",          "0",         "-1",    "1e9",
      "'x'",         "/a*/",       ".",       "length",     "get",       "log",   "new ",
      "this",        "throw ",     "try{",    "}catch(e){", "}finally{", "eval",  "Array",
      "String",      "Uint8Array", "JSON",    ".parse",     ".concat",   ".call", "=>",
      "instanceof ", "delete ",    ".sort()", ".__proto__", ".buffer",   "\n",
  };
  std::minstd_rand random(1);
  for (int round = 0; round < 300; ++round) {
    std::string script;
    for (auto count = 1 + random() % 30; count > 0; --count) {
      script += words[random() % words.size()];
    }
    INFO(script);
    const auto done = evaluate(script, "null", {.limits = {.timeout = 200ms}});
    if (!done) CHECK(done.error().code == errc::timed_out);
    if (round % 10 == 0) CHECK(value_of("6 * 7") == "42");
  }
}

TEST_CASE_METHOD(fixture, "threads evaluate side by side", "[js]") {
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 25; ++i) {
          const int number = thread * 1000 + i;
          const auto done = evaluate("var n = input; n + 1", std::to_string(number));
          if (done && done->text == std::to_string(number + 1)) ++right;
        }
      });
    }
  }
  CHECK(right == 100);
}

TEST_CASE_METHOD(fixture, "scripts of a conversation know of each other", "[js]") {
  js::conversation talk(evaluate);
  CHECK(talk("var n = 1; function next() { return ++n }").value().text == "null");
  CHECK(talk("next()").value().text == "2");
  CHECK(talk("next() + input", "10").value().text == "13");
  CHECK(talk("throw new Error('x')").value().threw);
  CHECK(talk("log('still there'); n").value().text == "3");
  CHECK(log == lines{"still there"});
  CHECK(talk("for (;;) {}", "null", {.limits = {.timeout = 50ms}}).error().code == errc::timed_out);
  CHECK(talk("n").error().code == errc::timed_out);
  js::conversation another(evaluate);
  CHECK(another("typeof n").value().text == "\"undefined\"");
}
