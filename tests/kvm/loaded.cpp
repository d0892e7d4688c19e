// Images that are loaded at run time: they do all that compiled-in ones do, and go when nobody
// needs them.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <guests/fib32.hpp>
#include <guests/init_loops.hpp>
#include <guests/jobs.hpp>
#include <guests/jobs_types.hpp>
#include <guests/math.hpp>
#include <guests/math/math.hpp>
#include <guests/prepared.hpp>
#include <guests/prepared_types.hpp>
#include <guests/square.hpp>
#include <virtine/dynamic_session.hpp>
#include <virtine/function.hpp>
#include <virtine/gdb.hpp>
#include <virtine/loaded_image.hpp>
#include <virtine/session.hpp>
#include <virtine/snapshot_file.hpp>

#include "../image_bytes.hpp"
#include "../in_child.hpp"
#include "../told_calls.hpp"

using namespace virtine;
using namespace std::chrono_literals;

namespace {

/// An image file of a compiled-in image with these functions.
template <class First, class... Rest>
image_bytes file_of() {
  std::vector<exported_function> exports{
      {First::name, First::signature, First::address, First::imports},
      {Rest::name, Rest::signature, Rest::address, Rest::imports}...};
  std::sort(exports.begin(), exports.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return {First::image::description, exports};
}

template <class... Entry>
loaded_image load(const load_options& options = {}) {
  auto loaded = load_image(std::span<const std::byte>(file_of<Entry...>().bytes), options);
  REQUIRE(loaded);
  return *std::move(loaded);
}

}  // namespace

TEST_CASE("functions of a loaded image do what those of the same image compiled in do",
          "[loaded]") {
  const loaded_image math = load<guests::math::fib, guests::math::sum, guests::math::scale>();
  auto fib = math.function<int(int)>("fib");
  REQUIRE(fib);
  CHECK((*fib)(10) == 55);
  auto scale = math.function<void(std::span<double>, double)>("scale");
  REQUIRE(scale);
  std::array values{1.0, 2.5};
  REQUIRE(scale->try_call(values, 2.0));
  CHECK(values == std::array{2.0, 5.0});
  std::string logged;
  auto sum = math.function<long(std::span<const int>)>(
      "sum", policy(allow<log_line>([&](tainted<std::string_view> line) {
        logged = std::string(line.unverified_because("it is compared only"));
      })));
  REQUIRE(sum);
  const std::array numbers{1, 2, 3};
  CHECK((*sum)(numbers) == 6);
  CHECK(logged == "summed");
  CHECK(sum->policy_usage().grants.front().used == 1);
}

TEST_CASE("a loaded function has all ways to call", "[loaded]") {
  const loaded_image math = load<guests::math::fib>();
  auto fib = math.function<int(int)>("fib").value();
  const std::array jobs{1, 2, 10};
  CHECK(fib.together(jobs).value() == std::vector{1, 1, 55});
  const auto each = fib.each(jobs);
  REQUIRE(each.size() == 3);
  CHECK(each[2].value() == 55);
  CHECK(fib.async(7).get() == 13);
  CHECK(fib.with({.timeout = 5s})(8) == 21);
  const function<int(int)> any = fib;
  CHECK(any(9) == 34);
  session fast(fib);
  CHECK(fast(10) == 55);
  CHECK(fast(11) == 89);
  loaded_pool machines(math, {.max = 2});
  auto pooled = math.function<int(int)>("fib", machines).value();
  CHECK(pooled(6) == 8);
  CHECK(machines.size() == 1);
  // To where nobody can listen: what matters is that the debugger takes it.
  CHECK(gdb::debug(fib, {.socket = "/no/such/folder/socket"}).try_call(3).error().code ==
        errc::os_error);
  CHECK(fib.with({.timeout = 20ms}).try_call(45).error().code == errc::timed_out);
  CHECK(fib(3) == 2);
}

TEST_CASE("a session refuses an image that has no room for one", "[loaded][session]") {
  image_description narrow = guests::math::description;
  narrow.arguments_size = 24;
  const image_bytes file(narrow, {{guests::math::fib::name, guests::math::fib::signature,
                                   guests::math::fib::address, guests::math::fib::imports}});
  const auto math = load_image(std::span<const std::byte>(file.bytes)).value();
  auto fib = math.function<int(int)>("fib").value();
  CHECK(fib(10) == 55);
  session stays(fib);
  const auto refused = stays.try_call(10);
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::arguments_too_large);
}

TEST_CASE("each call of a loaded function begins with the state that its initialiser left",
          "[loaded]") {
  const loaded_image image = load<guests::prepared::state, guests::prepared::wrong_squares>();
  auto state = image.function<prepared_state()>("state").value();
  auto wrong = image.function<std::uint64_t()>("wrong_squares").value();
  const prepared_state first = state();
  CHECK(first.trace == 123);
  CHECK(first.calls == 1);
  for (int i = 0; i < 3; ++i) {
    CHECK(wrong() == 0);
    CHECK(state().calls == 1);
  }
  // One snapshot of the image, whatever functions there are.
  CHECK(state().born == first.born);

  const std::string path = std::filesystem::temp_directory_path() /
                           ("virtine-loaded-" + std::to_string(::getpid()) + ".snapshot");
  REQUIRE(save_snapshot(image, path));
  const loaded_image again = load<guests::prepared::state>();
  const auto snapshot = load_snapshot(again, path);
  REQUIRE(snapshot);
  CHECK(again.function<prepared_state()>("state").value()().born == first.born);
  const loaded_image other = load<guests::math::fib>();
  CHECK(load_snapshot(other, path).error().code == errc::snapshot_refused);
  std::filesystem::remove(path);
}

TEST_CASE("a loaded image's initialiser has the time that the host gives it", "[loaded]") {
  const loaded_image image = load<guests::init_loops::answer>({.initialiser_timeout = 30ms});
  auto answer = image.function<int()>("answer").value();
  const auto begin = std::chrono::steady_clock::now();
  const auto refused = answer.with({.timeout = 1h}).try_call();
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::timed_out);
  CHECK(std::string(refused.error().operation) == "in the image's initialiser");
  // Far less than the ten seconds of others; a bound, not a measurement.
  CHECK(std::chrono::steady_clock::now() - begin < 9s);
  std::stop_source stop;
  stop.request_stop();
  const dynamic_session stopped(*image.dynamic("answer"), {.stop = stop.get_token()});
  CHECK(stopped.try_call({}).error().code == errc::cancelled);
}

TEST_CASE("what was made of a loaded image keeps it, and its errors keep their texts", "[loaded]") {
  std::optional<function<int(int)>> fib;
  error why;
  {
    const loaded_image math = load<guests::math::fib>();
    fib = math.function<int(int)>("fib").value();
    auto deep = math.function<int(int)>("fib").value();
    why = deep.try_call(1'000'000'000).error();
  }
  CHECK((*fib)(10) == 55);
  fib.reset();
  CAPTURE(to_string(why));
  CHECK(why.code == errc::guest_fault);
  CHECK(to_string(why).find("stack overflow") != std::string::npos);
  CHECK(to_string(why).find(" in ") != std::string::npos);
}

TEST_CASE("an image can be replaced while calls of it run", "[loaded]") {
  std::atomic<bool> over{false};
  std::atomic<int> made{0};
  auto current = std::make_shared<function<int(int)>>(
      load<guests::math::fib>().function<int(int)>("fib").value());
  std::thread calling([&] {
    while (!over) {
      const auto fib = std::atomic_load(&current);
      if ((*fib)(5) == 5) ++made;
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5 || (made < 20 && std::chrono::steady_clock::now() - begin < 60s); ++i) {
    std::atomic_store(&current, std::make_shared<function<int(int)>>(
                                    load<guests::math::fib>().function<int(int)>("fib").value()));
  }
  over = true;
  calling.join();
  CHECK(made >= 20);
}

TEST_CASE("loaded images that were called leave nothing behind", "[loaded]") {
  const auto use = [] {
    const loaded_image math = load<guests::math::fib>();
    REQUIRE(math.function<int(int)>("fib").value()(10) == 55);
  };
  use();
  const std::size_t descriptors = told::descriptors();
  for (int i = 0; i < 10; ++i) use();
  CHECK(told::descriptors() == descriptors);
}

TEST_CASE("a call that runs by itself outlives the handles of its image and of its function",
          "[loaded]") {
  loaded_pool machines(load<guests::math::fib>());
  std::optional<pending<int>> later;
  {
    const auto other = load<guests::math::fib>();
    later.emplace(other.function<int(int)>("fib").value().async(10));
  }
  CHECK(later->get() == 55);
}

TEST_CASE("a function that shares a pool need not outlive its pending calls", "[loaded]") {
  pool<guests::square> machines;
  std::optional<pending<int>> later;
  {
    const virtine_fn<int(int), guests::square> square(machines);
    later.emplace(square.async(12));
  }
  CHECK(later->get() == 144);
}

#ifndef __SANITIZE_THREAD__  // Which lets no child of fork have threads.

TEST_CASE("a child of fork calls functions of an image that its parent has loaded", "[loaded]") {
  const loaded_image math = load<guests::math::fib>();
  auto fib = math.function<int(int)>("fib").value();
  REQUIRE(fib(10) == 55);
  CHECK(in_child([&] { return fib.try_call(10).value_or(0); }) == 55);
  CHECK(fib(11) == 89);
}

#endif

TEST_CASE("bare images are loaded, too", "[loaded][own_vm]") {
  const image_bytes file = file_of<guests::fib32::only_entry>();
  CHECK(std::string(load_image(std::span<const std::byte>(file.bytes)).error().operation) ==
        "the image is for bare machines: load it by load_bare_image()");
  const std::string path = std::filesystem::temp_directory_path() /
                           ("virtine-bare-" + std::to_string(::getpid()) + ".virtine");
  {
    const os::fd to{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    REQUIRE(::write(to.get(), file.bytes.data(), file.bytes.size()) ==
            static_cast<::ssize_t>(file.bytes.size()));
  }
  auto loaded = load_bare_image(path);
  REQUIRE(loaded);
  std::filesystem::remove(path);
  auto fib = loaded->function<int(int)>(guests::fib32::only_entry::name).value();
  CHECK(fib(10) == 55);
  CHECK(fib(11) == 89);
  const auto by_values = loaded->dynamic(guests::fib32::only_entry::name).value();
  CHECK(by_values({10}) == value(55));
  CHECK(to_string(dynamic_session(by_values).try_call({10}).error()) ==
        "image_refused: an image for bare machines has no sessions");
}
