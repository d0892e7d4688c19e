// Processes that end while calls are under way.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include <guests/spins.hpp>
#include <guests/spins_types.hpp>
#include <virtine/virtine.hpp>

#include "in_child.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace std::chrono_literals;

// ThreadSanitizer does not follow threads into a child.
#ifndef __SANITIZE_THREAD__

namespace {

using spins = guests::spins;
using leaving_policy = policy<allowed<running, std::function<bool()>>>;
using asking_fn = virtine_fn<std::uint64_t(std::uint64_t), spins::until_told, leaving_policy>;

leaving_policy leaves() {
  return leaving_policy{allow<running>(std::function<bool()>([]() -> bool {
    abandon_calls();
    std::exit(7);  // In the middle of the call, destroying what is in static storage.
  }))};
}

}  // namespace

TEST_CASE("a process may end in a handler once it has abandoned its calls", "[leaving]") {
  CHECK(in_child([] {
          static asking_fn fn(leaves());
          static_cast<void>(fn.try_call(1));
          return 1;
        }) == 7);
  CHECK(in_child([] {
          static pool<spins> machines({.max = 4, .warm = 3, .cleaning = cleaning::in_background});
          static asking_fn fn(machines, leaves());
          static_cast<void>(fn.try_call(1));
          return 1;
        }) == 7);
}

TEST_CASE("a process may end in a handler on a thread of the library's", "[leaving]") {
  CHECK(in_child([] {
          static asking_fn fn(leaves());
          static auto later = fn.async(1);
          later.wait();
          return 1;
        }) == 7);
  CHECK(in_child([] {
          static asking_fn fn(leaves());
          static session stays(fn);
          static_cast<void>(stays.try_call(1));
          return 1;
        }) == 7);
}

TEST_CASE("a process may end while guests run elsewhere", "[leaving]") {
  const auto goes_on = [] {
    return leaving_policy{allow<running>(std::function<bool()>([] { return true; }))};
  };
  CHECK(
      in_child([&] {
        static asking_fn fn(goes_on());
        static session stays(fn);
        static pool<spins> machines;
        static asking_fn other(machines, goes_on());
        static auto later = other.with({.timeout = 1h}).async(1000);
        std::thread([] { static_cast<void>(other.with({.timeout = 1h}).try_call(1000)); }).detach();
        std::thread([] { static_cast<void>(stays.with({.timeout = 1h}).try_call(1000)); }).detach();
        std::this_thread::sleep_for(20ms);
        abandon_calls();
        std::exit(7);
        return 1;
      }) == 7);
}

#endif
