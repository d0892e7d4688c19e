// The threads that run work in the background.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <virtine/os/workers.hpp>

#include "no_threads.hpp"

using namespace virtine;
using namespace virtine::detail;
using namespace virtine::os;

namespace {

using crew = std::unique_ptr<workers>;

struct job final : work {
  std::function<void()> body;
  void run() override { body(); }
};

}  // namespace

TEST_CASE("one thread runs work in its order", "[workers]") {
  std::vector<int> ran;
  std::array<job, 20> jobs;
  const crew one(new workers(1));
  for (int i = 0; i < 20; ++i) {
    jobs[static_cast<std::size_t>(i)].body = [&ran, i] { ran.push_back(i); };
    REQUIRE(one->submit(jobs[static_cast<std::size_t>(i)]));
  }
  one->finish();
  REQUIRE(ran.size() == 20);
  for (int i = 0; i < 20; ++i) CHECK(ran[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("as many threads run as there is work, up to the most", "[workers]") {
  std::array<job, 6> jobs;
  std::atomic<int> running = 0;
  std::mutex guard;
  std::set<std::thread::id> seen;
  const crew three(new workers(3));
  for (job& each : jobs) {
    each.body = [&] {
      {
        std::lock_guard lock(guard);
        seen.insert(std::this_thread::get_id());
      }
      // Goes on only when three are at it.
      ++running;
      for (int now = running; now < 3; now = running) running.wait(now);
      running.notify_all();
    };
    REQUIRE(three->submit(each));
  }
  three->finish();
  CHECK(running == 6);
  CHECK(seen.size() == 3);
  CHECK(seen.count(std::this_thread::get_id()) == 0);
}

TEST_CASE("work may submit itself again, also while threads are ended", "[workers]") {
  job again;
  int ran = 0;
  const crew one(new workers(0));
  again.body = [&] {
    if (++ran < 10) static_cast<void>(one->submit(again));
  };
  REQUIRE(one->submit(again));
  one->finish();
  CHECK(ran == 10);
}

TEST_CASE("threads that nobody needs are not started, however many there may be", "[workers]") {
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const auto before = threads();
  const crew none(new workers(SIZE_MAX));
  CHECK(threads() == before);
  none->finish();
  none->finish();
  CHECK(threads() == before);
}

TEST_CASE("a thread that cannot be started is an error value", "[workers]") {
  job never;
  never.body = [] { FAIL("it ran"); };
  result<void> refused;
  {
    const no_threads now;
    const crew one(new workers(1));
    refused = one->submit(never);
  }
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::os_error);
  CHECK(refused.error().os_error == EAGAIN);
}
