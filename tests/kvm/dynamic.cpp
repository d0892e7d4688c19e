// Functions whose types are known at run time only, called with values; and their hypercalls.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <guests/asks.hpp>
#include <guests/draws.hpp>
#include <guests/jobs.hpp>
#include <guests/math.hpp>
#include <guests/values.hpp>
#include <virtine/dynamic_policy.hpp>
#include <virtine/dynamic_session.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/posix.hpp>

#include "../image_bytes.hpp"

using namespace virtine;
using namespace std::chrono_literals;

namespace {

template <class First, class... Rest>
result<loaded_image> load() {
  std::vector<exported_function> exports{
      {First::name, First::signature, First::address, First::imports},
      {Rest::name, Rest::signature, Rest::address, Rest::imports}...};
  std::sort(exports.begin(), exports.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return load_image(
      std::span<const std::byte>(image_bytes(First::image::description, exports).bytes));
}

using asks = guests::asks;

result<loaded_image> load_asks() {
  return load<asks::greet, asks::add_by_host, asks::filled_by_host, asks::claims,
              asks::measured_by_host, asks::knock_on>();
}

/// Returns the first element of one, so that handlers are short.
template <class T>
T first(std::span<value> given) {
  return given[0].as<T>().value();
}

}  // namespace

TEST_CASE("values cross as the arguments and results of typed calls do", "[dynamic]") {
  const auto plugin = load<guests::math::fib, guests::math::scale, guests::math::midpoint,
                           guests::math::describe>();
  REQUIRE(plugin);
  CHECK((*plugin->dynamic("fib"))({20}) == value(6765));

  auto scale = plugin->dynamic("scale");  // result<virtine::dynamic_function>
  std::vector<double> numbers{1, 2.5};
  auto done = scale->try_call({std::span(numbers), 2});  // result<virtine::value>
  REQUIRE(done);
  CHECK(done->is_none());
  CHECK(numbers == std::vector<double>{2, 5});

  std::vector<value> arguments{value::list({1, 2.5}), 4};
  REQUIRE(scale->try_call(std::span(arguments)));
  CHECK(arguments[0] == value::list({4.0, 10.0}));
  call_usage used;
  REQUIRE(scale->with({.usage = &used}).try_call(std::span(arguments)));
  CHECK(used.bytes_out == 2 * sizeof(double));
  CHECK(used.bytes_in >= 3 * sizeof(double));

  const std::array<double, 4> points{0, 2, 4, 8};
  const auto bytes = std::as_bytes(std::span(points));
  const value middle = (*plugin->dynamic("midpoint"))(
      {value::bytes(bytes.first(16)), value::bytes(bytes.subspan(16))});
  const std::array<double, 2> expected{2, 5};
  CHECK(middle == value::bytes(std::as_bytes(std::span(expected))));
  CHECK((*plugin->dynamic("describe"))({-3}) ==
        value::bytes(std::as_bytes(std::span("minus 3 is odd", 14))));
}

TEST_CASE("bools and enums cross as values", "[dynamic]") {
  const auto plugin =
      load<guests::values::invert, guests::values::next_colour, guests::values::next_u64>();
  REQUIRE(plugin);
  CHECK((*plugin->dynamic("invert"))({true}) == value(false));
  CHECK((*plugin->dynamic("next_colour"))({1}) == value(2));
  CHECK((*plugin->dynamic("next_u64"))({UINT64_MAX - 1}) == value(UINT64_MAX));
}

TEST_CASE("a function of values has limits, async and each like all functions", "[dynamic]") {
  const auto plugin = load<guests::math::fib>();
  REQUIRE(plugin);
  loaded_pool machines(*plugin);
  const auto fib = plugin->dynamic("fib", machines);
  REQUIRE(fib);
  CHECK(fib->signature() == "i4(i4)");
  CHECK(fib->with({.timeout = 20ms}).try_call({60}).error().code == errc::timed_out);

  std::vector<value> arguments{10};
  CHECK(fib->async(std::span(arguments)).get() == value(55));
  std::vector<std::vector<value>> jobs{{1}, {7}, {"x"}, {10}};
  const auto results = fib->each(jobs);
  REQUIRE(results.size() == 4);
  CHECK(*results[1] == value(13));
  CHECK(results[2].error().code == errc::bad_argument);
  CHECK(*results[3] == value(55));
  const auto together = fib->together(jobs);
  CHECK(together.error().job == std::size_t{2});

  // What a function returns outlives image and pool of its own.
  const auto kept = [] { return *load<guests::math::fib>()->dynamic("fib"); }();
  CHECK(kept({7}) == value(13));
  CHECK(to_string(kept.try_call({}).error()) ==
        "bad_argument: fib takes 1 argument, and 0 are given");
}

TEST_CASE("calls of a session of values share their state", "[dynamic][session]") {
  const auto plugin = load<guests::jobs::count, guests::jobs::quotient, guests::math::scale>();
  REQUIRE(plugin);
  loaded_pool machines(*plugin);
  const auto count = plugin->dynamic("count", machines);
  REQUIRE(count);
  const value first_time = (*count)({});
  CHECK((*count)({}) == first_time);
  {
    const dynamic_session counting(*count);
    CHECK(counting({}) == first_time);
    CHECK(counting({}) != first_time);
    CHECK(counting.try_call({1}).error().code == errc::bad_argument);
    CHECK(counting.try_call({}).has_value());  // That did not end it.
    CHECK(machines.stats().idle == 0);
  }
  CHECK((*count)({}) == first_time);
  CHECK(machines.stats().machines == 1);

  const auto quotient = plugin->dynamic("quotient", machines);
  const dynamic_session dividing(*quotient);
  for (int i = 0; i < 1000; ++i) REQUIRE(dividing({6 * i, 3}) == value(2 * i));
  CHECK(dividing.try_call({1, 0}).error().code == errc::guest_fault);
  CHECK(dividing.try_call({6, 3}).error().code == errc::guest_fault);
}

TEST_CASE("a session of values copies outputs back", "[dynamic][session]") {
  const auto plugin = load<guests::math::scale>();
  REQUIRE(plugin);
  const dynamic_session scaling(*plugin->dynamic("scale"));
  std::vector<double> numbers{1, 2.5};
  scaling({std::span(numbers), 2});
  CHECK(numbers == std::vector<double>{2, 5});
  std::vector<value> arguments{value::list({1, 2.5}), 4};
  REQUIRE(scaling.try_call(std::span(arguments)));
  CHECK(arguments[0] == value::list({4.0, 10.0}));
}

TEST_CASE("arguments that are wrong cost no machine", "[dynamic]") {
  const auto plugin = load<guests::math::fib>();
  REQUIRE(plugin);
  loaded_pool machines(*plugin);
  const auto fib = plugin->dynamic("fib", machines);
  CHECK(fib->try_call({"x"}).error().code == errc::bad_argument);
  CHECK(machines.size() == 0);
}

TEST_CASE("hypercalls are allowed and answered at run time", "[dynamic]") {
  const auto plugin = load_asks();
  REQUIRE(plugin);
  CHECK(plugin->dynamic("add_by_host").error().code == errc::image_refused);

  dynamic_policy grants;
  grants.add(posix::clock()).value();
  grants
      .allow(2, "i8(i1,i8)",
             [](std::span<virtine::value> given) -> std::optional<virtine::value> {
               return *given[0].as<int>() + *given[1].as<long>();  // nullopt would reject it
             })
      .value();
  auto add = plugin->dynamic("add_by_host", grants);
  REQUIRE(add);
  CHECK((*add)({-3, 10}) == value(7));

  std::vector<std::string> lines;
  const auto added = grants.allow(1, "v(s)", [&](std::span<value> given) {
    lines.emplace_back(first<std::string_view>(given));
    return std::optional(value());
  });
  REQUIRE(added);
  (*plugin->dynamic("greet", grants))({"you"});
  CHECK(lines == std::vector<std::string>{"hello", "you", ""});

  REQUIRE(grants.allow(4, "{16.8}(s,[f8])", [](std::span<value> given) {
    const auto bytes = *given[1].as<std::span<const std::byte>>();
    const std::array<std::uint64_t, 2> reply{first<std::string_view>(given).size(), 0};
    CHECK(bytes.size() == 16);
    return std::optional(value::bytes(std::as_bytes(std::span(reply))));
  }));
  const std::array<double, 2> numbers{1, 2};
  CHECK((*plugin->dynamic("measured_by_host", grants))({"four", std::span(numbers)}) == value(4.0));
}

TEST_CASE("outputs of a hypercall are written to the guest, and nowhere else", "[dynamic]") {
  const auto plugin = load_asks();
  REQUIRE(plugin);
  dynamic_policy grants;
  REQUIRE(grants.allow(3, "u4([=u4])", [](std::span<value> given) {
    std::array<std::uint32_t, 4> numbers{1, 2, 3, 4};
    const std::size_t size = first<std::span<const std::byte>>(given).size();
    if (size == 0) return std::optional(value(0));
    given[0] = value::bytes(std::as_bytes(std::span(numbers)));
    return std::optional(value(4));
  }));
  const auto fill = plugin->dynamic("filled_by_host", grants);
  REQUIRE(fill);
  CHECK((*fill)({4}) == value(10 + (std::uint64_t{4} << 32)));
  CHECK((*fill)({0}) == value(0));
  CHECK(to_string(fill->try_call({3}).error()) ==
        "bad_argument: output 1 that the handler of hypercall 3 gave: it has another size");
  dynamic_policy mistaken;
  REQUIRE(mistaken.allow(3, "u4([=u4])", [](std::span<value> given) {
    given[0] = value::list({1, 2, "x", 4});
    return std::optional(value(4));
  }));
  CHECK(to_string(plugin->dynamic("filled_by_host", mistaken)->try_call({4}).error()) ==
        "bad_argument: output 1 that the handler of hypercall 3 gave: element 2: a text is not "
        "unsigned");
  const auto claims = plugin->dynamic("claims", grants);
  for (const std::uint64_t claimed :
       {std::uint64_t{1} << 20, UINT64_MAX, UINT64_MAX / 4, UINT64_MAX / 4 + 2}) {
    CHECK(claims->try_call({claimed}).error().code == errc::hypercall_rejected);
  }
}

TEST_CASE("a handler that rejects, or gives another type, ends the call", "[dynamic]") {
  const auto plugin = load_asks();
  REQUIRE(plugin);
  std::optional<value> answer;
  dynamic_policy grants;
  REQUIRE(grants.allow(5, "b()", [&](std::span<value>) { return answer; }));
  const auto knock = plugin->dynamic("knock_on", grants);
  REQUIRE(knock);
  CHECK(knock->try_call({1}).error().code == errc::hypercall_rejected);
  answer = value(2);
  CHECK(to_string(knock->try_call({1}).error()) ==
        "bad_argument: the result that the handler of hypercall 5 gave: 2 is not bool");
  answer = value(true);
  CHECK((*knock)({7}) == value(7));
  CHECK(knock->with({.hypercalls = 3}).try_call({7}).error().code == errc::hypercall_limit);
}

TEST_CASE("a policy of run time refuses what contradicts it", "[dynamic]") {
  const auto idle = [](std::span<value>) { return std::optional(value()); };
  dynamic_policy grants;
  const auto refused = [](const result<void>& of) {
    return !of && of.error().code == errc::bad_grant;
  };
  CHECK(grants.add(posix::clock()));
  CHECK(refused(grants.add(posix::clock())));
  CHECK(grants.allow(1, "v()", idle));
  CHECK(refused(grants.allow(1, "v(i4)", idle)));
  CHECK(refused(grants.allow(2, "x", idle)));
  CHECK(refused(grants.allow(2, "f16()", idle)));
  CHECK(refused(grants.allow(2, "v(f16)", idle)));
  CHECK(refused(grants.allow(2, "v()", nullptr)));
  CHECK(refused(grants.allow(first_reserved_hypercall, "v()", idle)));
  CHECK(grants.add(allow_entropy()));
  CHECK(refused(grants.add(allow_entropy())));
  const auto twice = posix::try_directories({{"/a", "/tmp"}, {"/a", "/"}});
  REQUIRE(twice);
  CHECK(refused(grants.add(*twice)));
  CHECK(grants.allows(1));
  CHECK_FALSE(grants.allows(2));
  CHECK(grants.allows(entropy::number));
  CHECK(grants.allows(environment::number));
}

TEST_CASE("entropy can be granted at run time", "[dynamic]") {
  const auto plugin = load<guests::draws::draw>();
  REQUIRE(plugin);
  CHECK(plugin->dynamic("draw").error().code == errc::image_refused);
  dynamic_policy grants;
  REQUIRE(grants.add(allow_entropy()));
  std::array<std::byte, 16> bytes{};
  (*plugin->dynamic("draw", grants))({std::span(bytes)});
  CHECK(std::count(bytes.begin(), bytes.end(), std::byte{0}) < 16);
}

TEST_CASE("signatures of files are not trusted", "[dynamic]") {
  std::vector<exported_function> exports{
      {guests::math::fib::name, "", guests::math::fib::address, guests::math::fib::imports}};
  for (const std::string signature : {"", "i4(", "x", "4294967296*oi4()", "i4(i4)i4", "f16(i4)",
                                      "i4({4294967296.1})", "65536*<>(i4)"}) {
    CAPTURE(signature);
    exports[0].signature = signature;
    const auto plugin = load_image(
        std::span<const std::byte>(image_bytes(guests::math::description, exports).bytes));
    REQUIRE(plugin);
    CHECK(plugin->dynamic("fib").error().code == errc::image_refused);
  }
}
