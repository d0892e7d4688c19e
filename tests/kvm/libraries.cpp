// The C and C++ libraries in guests: what they compute, what they leave, and how a call ends that
// they end.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <guests/catches.hpp>
#include <guests/conformance.hpp>
#include <guests/library.hpp>
#include <guests/speaks.hpp>
#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "guests/questions.hpp"
#include "host.hpp"
#include "told_calls.hpp"

using namespace virtine;
using namespace virtine::detail;

namespace {

using library = guests::library;
using catches = guests::catches;
using speaks = guests::speaks;
using text = virtine::bytes<256>;

pool<library>& machines() {
  static pool<library> all({.max = 2});
  return all;
}

template <class Sig, class Entry>
auto of_library() {
  return virtine_fn<Sig, Entry>(machines());
}

template <class Sig, class Entry, class... A>
fault failed(pool<typename Entry::image>& on, A... arguments) {
  virtine_fn<Sig, Entry> fn(on);
  const auto outcome = fn.try_call(arguments...);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == errc::guest_fault);
  return outcome.error().fault;
}

}  // namespace

TEST_CASE("containers, strings and algorithms", "[libraries]") {
  auto median = of_library<int(std::span<const int>), library::median>();
  std::vector<int> numbers;
  for (int i = 0; i < 1001; ++i) numbers.push_back(i * 7919 % 1001);
  CHECK(median(numbers) == 500);
  auto count = of_library<text(std::string_view), library::count_words>();
  CHECK(count("the cat and the dog and the bird").text() == "and=2;bird=1;cat=1;dog=1;the=3;");
  auto objects = of_library<double(int), library::objects>();
  CHECK(objects(4) == Approx(std::sqrt(3 + 4 + 27 + 16) * std::sqrt(2.0)));
}

TEST_CASE("memory is copied, also to where it overlaps", "[libraries]") {
  auto wrong = of_library<int(int, int), library::wrong_after_copy>();
  for (const int size : {0,  1,  2,  3,   4,   7,   8,   9,   15,  16,   17,   31,   32,   33,
                         63, 64, 65, 127, 128, 129, 191, 192, 193, 1000, 4095, 4096, 4097, 5999}) {
    for (const int distance : {-6000, -65, -64, -63, -15, -1, 0, 1, 17, 63, 64, 65, 6000}) {
      INFO(size << " bytes, " << distance << " from where they were");
      CHECK(wrong(size, distance) == 0);
    }
  }
}

TEST_CASE("text from numbers and numbers from text", "[libraries]") {
  auto format = of_library<text(double, std::string_view), library::formatted>();
  CHECK(format(3.14159, "pi").text() == "pi    |0003.142|3.14159|ff|  -42");
  auto parse = of_library<double(std::string_view), library::parse>();
  CHECK(parse("-1.25e3xyz") == -1250.0);
  CHECK(parse("0x1p-3") == 0.125);
  auto shortest = of_library<text(double), library::shortest>();
  CHECK(shortest(0.1).text() == "0.1");
  CHECK(shortest(6.02214076e23).text() == "6.02214076e+23");
}

#ifndef __SANITIZE_THREAD__  // Which ends the host where a question misuses a mutex.

TEST_CASE("the C++ library answers as the host's does", "[libraries]") {
  virtine_fn<bytes<2000>(int), guests::conformance::answer> answer;
  int compared = 0;
  for (int question = 0; question < conformance::questions; ++question) {
    CAPTURE(question);
    const auto guests = answer.try_call(question);
    REQUIRE(guests);
    CHECK_FALSE(guests->text().empty());
    std::string hosts;
    try {
      hosts = conformance::answer(question);
    } catch (const std::runtime_error& why) {
      WARN("question " << question
                       << " is not compared, as this host has no C.UTF-8: " << why.what());
      continue;
    }
    CHECK(guests->text() == hosts);
    ++compared;
  }
  CHECK(compared >= 39);
}

#endif

TEST_CASE("functions of C", "[libraries]") {
  auto sort = of_library<text(std::string_view), library::sort_by_c>();
  CHECK(sort("delta,alpha,charlie,bravo").text() == "alphabravocharliedelta");
  auto numbers = of_library<int(std::string_view), library::numbers_of_errors>();
  CHECK(numbers("range") == 0);
  CHECK(numbers("representable") == 34);
}

TEST_CASE("mmap has memory only, and the log of the system is lost", "[libraries]") {
  CHECK(of_library<int(), library::asks_of_the_system>()() == 7);
}

TEST_CASE("a guest that waits for itself ends at once", "[libraries]") {
  CHECK(of_library<int(bool), library::waits_for_itself>()(false) == 0);
  const fault waits = failed<int(bool), library::waits_for_itself>(machines(), true);
  CHECK(waits.kind == fault_kind::aborted);
  REQUIRE(waits.symbol != nullptr);
  CHECK(std::string(waits.symbol).find("waits_for_itself") != std::string::npos);
}

TEST_CASE("malloc keeps blocks apart", "[libraries]") {
  auto stress = of_library<int(int), library::stress>();
  CHECK(stress(is_emulated() ? 500 : 5000) == 0);
}

TEST_CASE("the heap ends where --heap says", "[libraries]") {
  auto size = of_library<std::uint64_t(std::uint64_t), library::heap_size>();
  for (const std::uint64_t piece : {1000U, 100000U}) {
    const std::uint64_t had = size(piece);
    CHECK(had > (1 << 20));
    CHECK(had < (2 << 20));
    // The next call has as much.
    CHECK(size(piece) == had);
  }
}

TEST_CASE("no call sees what another left on the heap", "[libraries]") {
  auto secret = of_library<int(int), library::secret>();
  for (int i = 0; i < 4; ++i) CHECK(secret(1) == 0);
  CHECK(secret(0) == 0);
}

TEST_CASE("static objects begin anew in each call", "[libraries]") {
  auto fresh = of_library<int(), library::fresh>();
  for (int i = 0; i < 3; ++i) CHECK(fresh() == 1042);
}

TEST_CASE("thread_local variables last as long as the state", "[libraries]") {
  auto variables = of_library<int(), library::thread_variables>();
  for (int i = 0; i < 3; ++i) CHECK(variables() == 42);
  const std::array<std::tuple<>, 3> thrice{};
  for (const auto& each : variables.each(thrice)) CHECK(each.value() == 42);
  const std::vector lasting{42, 44, 47};
  CHECK(variables.together(thrice).value() == lasting);
  session stays(variables);
  for (const int expected : lasting) CHECK(stays() == expected);
}

TEST_CASE("calls of a library make no system call", "[libraries]") {
  // The policy would end the call at the first.
  auto stress = of_library<int(int), library::stress>();
  CHECK(stress(100) == 0);
}

TEST_CASE("calls that nothing in the guest can go on with end by name", "[libraries]") {
  auto& on = machines();
  CHECK(failed<int(), library::new_until_full>(on).kind == fault_kind::out_of_memory);
  CHECK(failed<int(int), library::recurse>(on, 1000000).kind == fault_kind::stack_overflow);
  CHECK(failed<int(int), library::out_of_range>(on, 3).kind == fault_kind::uncaught_exception);
  const fault thrown = failed<int(int), library::throws_nobody_catches>(on, 1);
  CHECK(thrown.kind == fault_kind::uncaught_exception);
  CHECK(std::string(thrown.symbol) == "throws_nobody_catches");
  CHECK(failed<void(), library::aborts>(on).kind == fault_kind::aborted);
  CHECK(of_library<int(int), library::throws_nobody_catches>()(0) == 0);
}

TEST_CASE("exceptions are thrown, caught and thrown again", "[libraries]") {
  pool<catches> on;
  virtine_fn<int(int), catches::caught> caught(on);
  CHECK(caught(0) == 113);
  CHECK(caught(20) == 2113);
  CHECK(virtine_fn<int(int), catches::rethrown>(on)(5) == 6);
  virtine_fn<int(int), catches::of_the_library> library(on);
  CHECK(library(1) == 2);
  CHECK(library(3) == -1);
  virtine_fn<int(int), catches::types> types(on);
  CHECK(types(0) == 1107);
  CHECK(types(1) == 200);
  virtine_fn<int(), catches::fresh_after_throw> fresh(on);
  for (int i = 0; i < 3; ++i) CHECK(fresh() == 1);
}

TEST_CASE("a full heap can be caught", "[libraries]") {
  pool<catches> on;
  const int rounds = virtine_fn<int(), catches::survives_a_full_heap>(on)();
  CHECK(rounds / 100 > 30);
  CHECK(rounds / 100 == rounds % 100);
}

TEST_CASE("exceptions that nobody catches end the call by name", "[libraries]") {
  pool<catches> on;
  using catches_type = catches::not_caught;
  const fault thrown = failed<int(int), catches_type>(on, 0);
  CHECK(thrown.kind == fault_kind::uncaught_exception);
  CHECK(std::string(thrown.symbol) == "not_caught");
  CHECK(failed<int(int), catches_type>(on, 1).kind == fault_kind::out_of_memory);
  CHECK(failed<int(int), catches_type>(on, 2).kind == fault_kind::uncaught_exception);
  CHECK(failed<int(int), catches_type>(on, 3).kind == fault_kind::terminated);
  CHECK(virtine_fn<int(int), catches_type>(on)(4) == 0);
}

TEST_CASE("what a call prints arrives when it ends, and nothing of before", "[libraries]") {
  pool<speaks> on;
  std::string text;
  policy allowed{posix::minimal(text, 1000)};
  virtine_fn<int(int), speaks::greet, decltype(allowed)> greet(on, allowed);
  CHECK(greet(2) == 2);
  CHECK(text == "hello 0\nhello 1\n");
  CHECK(greet(0) == 0);
  CHECK(text == "hello 0\nhello 1\n");
  text.clear();
  virtine_fn<void(int), speaks::leave, decltype(allowed)> leave(on, allowed);
  const auto left = leave.try_call(3);
  REQUIRE_FALSE(left);
  CHECK(left.error().code == errc::exited);
  CHECK(text == "last words");
  // Without a grant, to print is what ends the call.
  const auto denied = virtine_fn<int(int), speaks::greet>(on).try_call(1);
  REQUIRE_FALSE(denied);
  CHECK(denied.error().code == errc::system_call_denied);
  CHECK(to_string(denied.error()).find("posix::output() for standard output") != std::string::npos);
}

TEST_CASE("paths below a granted directory have a canonical form", "[libraries]") {
  const told::scratch files;
  std::filesystem::create_directories(files.path("sub/deep"));
  files.put("sub/file", "a line\nanother\n");
  std::filesystem::create_symlink("sub", files.path("link"));
  policy allowed{posix::directory<"/a/b">(files.path(), posix::read_only)};
  virtine_fn<virtine::bytes<100>(std::string_view), speaks::real, decltype(allowed)> real(allowed);
  CHECK(real("/a/b/sub/deep/..//./file").text() == "/a/b/sub/file");
  CHECK(real("a/../a/b/sub/").text() == "/a/b/sub");
  CHECK(real("/a/b").text() == "/a/b");
  CHECK(real("/").text() == "/");
  CHECK(real("/a/b/none").text() == "No such file or directory");
  CHECK(real("/a/c").text() == "No such file or directory");
  CHECK(real("/a/b/sub/file/").text() == "Not a directory");
  CHECK(real("/a/b/link").text() == "Permission denied");
  virtine_fn<virtine::bytes<100>(std::string_view), speaks::first_line, decltype(allowed)> line(
      allowed);
  CHECK(line("/a/b/sub/file").text() == "a line\n");
  CHECK(line("/a/b/none").text() == "No such file or directory");
}

TEST_CASE("getenv gives what the policy grants", "[libraries]") {
  pool<speaks> on;
  using text_of_name = virtine::bytes<100>(std::string_view);
  CHECK(virtine_fn<text_of_name, speaks::variable>(on)("HOME").text() == "(none)");
  policy allowed{posix::environment({"LANG=C", "EMPTY=", "HOME=/nowhere"})};
  virtine_fn<text_of_name, speaks::variable, decltype(allowed)> variable(on, allowed);
  CHECK(variable("HOME").text() == "/nowhere");
  CHECK(variable("LANG").text() == "C");
  CHECK(variable("EMPTY").text().empty());
  CHECK(variable("LAN").text() == "(none)");
  CHECK(variable("").text() == "(none)");
  CHECK(virtine_fn<text_of_name, speaks::variable>(on)("HOME").text() == "(none)");
}

TEST_CASE("a guest's arguments are those that the policy grants", "[libraries]") {
  pool<speaks> on;
  using text_of_index = virtine::bytes<100>(unsigned);
  CHECK(virtine_fn<text_of_index, speaks::argument>(on)(0).text() == "0:(none)");
  policy allowed{posix::arguments({"tool", "", "-v"})};
  virtine_fn<text_of_index, speaks::argument, decltype(allowed)> argument(on, allowed);
  CHECK(argument(0).text() == "3:tool");
  CHECK(argument(1).text() == "3:");
  CHECK(argument(2).text() == "3:-v");
  CHECK(argument(3).text() == "3:(none)");
  policy none{posix::arguments({})};
  CHECK(virtine_fn<text_of_index, speaks::argument, decltype(none)>(on, none)(0).text() ==
        "0:(none)");
  CHECK(virtine_fn<text_of_index, speaks::argument>(on)(0).text() == "0:(none)");
}
