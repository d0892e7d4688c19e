// Attacks on time: guests that do not end.
// SPDX-License-Identifier: MIT
#include <stop_token>
#include <thread>

#include "hostile.hpp"

using namespace hostile;
using namespace std::chrono_literals;

TEST_CASE("H36: a guest that does not end is ended at its deadline", "[hostile]") {
  arena a;
  for (const char* name : {"loop_forever", "cpuid_forever"}) {
    for (int round = 0; round < 3; ++round) {
      INFO(name);
      const auto ended = a.run(name, 0, 0, 0, {.timeout = 20ms});
      REQUIRE_FALSE(ended);
      CHECK(ended.error().code == virtine::errc::timed_out);
      CHECK(a.pool.size() == 0);
      a.expect_good();
    }
  }
}

TEST_CASE("H37: a guest that does not end is ended by its caller", "[hostile]") {
  arena a;
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(10ms);
    source.request_stop();
  });
  const auto ended = a.run("loop_forever", 0, 0, 0,
                           {.timeout = std::chrono::hours(1), .stop = source.get_token()});
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == virtine::errc::cancelled);
  CHECK(a.pool.size() == 0);
  a.expect_good();
}

TEST_CASE("H38: guests that do not end do not hold up others", "[hostile]") {
  arena a;
  std::jthread stuck([&] {
    for (int round = 0; round < 3; ++round) {
      static_cast<void>(a.run("loop_forever", 0, 0, 0, {.timeout = 20ms}));
    }
  });
  for (int round = 0; round < 20; ++round) a.expect_good();
  stuck.join();
  a.expect_good();
  CHECK(a.pool.size() >= 1);
}
