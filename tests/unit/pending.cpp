// Results that come from another thread.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <poll.h>
#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <virtine/pending.hpp>

using namespace virtine;
using namespace virtine::detail;
using namespace virtine::os;

namespace {

static_assert(std::is_nothrow_move_constructible_v<pending<int>>);
static_assert(!std::is_copy_constructible_v<pending<int>>);

bool is_readable(int descriptor, int milliseconds) {
  pollfd one{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&one, 1, milliseconds) == 1 && (one.revents & POLLIN) != 0;
}

// Calls that stay where they are until they are let go.
struct latched {
  std::unique_ptr<workers> crew{new workers(2)};
  std::atomic<bool> open = false;

  pending<int> start(int value) {
    return pending<int>::start(*crew, {}, [this, value](const std::stop_token&) -> result<int> {
      open.wait(false);
      return value;
    });
  }
  void detach() {
    open = true;
    open.notify_all();
  }
};

}  // namespace

TEST_CASE("a result comes when its call is done", "[pending]") {
  latched calls;
  auto three = calls.start(3);
  auto four = calls.start(4);
  CHECK_FALSE(three.ready());
  calls.detach();
  CHECK(three.get() == 3);
  CHECK(three.ready());
  CHECK(three.get() == 3);
  CHECK(four.try_get().value() == 4);
}

TEST_CASE("a descriptor becomes readable when the call is done", "[pending]") {
  latched calls;
  auto early = calls.start(1);
  const int event = early.event_fd().value();
  CHECK(early.event_fd().value() == event);
  CHECK_FALSE(is_readable(event, 0));
  calls.detach();
  CHECK(is_readable(event, -1));
  CHECK(early.ready());
  CHECK(is_readable(event, 0));

  auto late = calls.start(2);
  late.wait();
  CHECK(is_readable(late.event_fd().value(), 0));
}

TEST_CASE("what a call fails with is its result", "[pending]") {
  const std::unique_ptr<workers> crew(new workers(1));
  auto failed = pending<int>::start(*crew, {}, [](const std::stop_token&) -> result<int> {
    return error{.code = errc::guest_fault};
  });
  CHECK(failed.try_get().error().code == errc::guest_fault);
  CHECK_THROWS_AS(failed.get(), failure);
  auto thrown = pending<void>::start(*crew, {}, [](const std::stop_token&) -> result<void> {
    throw std::runtime_error("from the handler");
  });
  CHECK_THROWS_WITH(thrown.try_get(), "from the handler");
  CHECK(thrown.try_get().error().code == errc::machine_failure);
  CHECK(thrown.ready());
}

TEST_CASE("a call is cancelled by its pending and by the caller's token", "[pending]") {
  const std::unique_ptr<workers> crew(new workers(1));
  const auto until_stopped = [](const std::stop_token& stop) -> result<void> {
    while (!stop.stop_requested()) std::this_thread::yield();
    return error{.code = errc::cancelled};
  };
  std::stop_source source;
  auto one = pending<void>::start(*crew, source.get_token(), until_stopped);
  auto two = pending<void>::start(*crew, source.get_token(), until_stopped);
  SECTION("by its pending") {
    one.cancel();
    CHECK(one.try_get().error().code == errc::cancelled);
    CHECK_FALSE(two.ready());
    two.cancel();
  }
  SECTION("by the token") {
    source.request_stop();
    CHECK(one.try_get().error().code == errc::cancelled);
  }
  CHECK(two.try_get().error().code == errc::cancelled);
}

TEST_CASE("a pending waits for its call when it ends", "[pending]") {
  latched calls;
  std::atomic<bool> ended = false;
  std::thread owner([&] {
    { [[maybe_unused]] const auto dropped = calls.start(1); }
    ended = true;
  });
  CHECK_FALSE(ended);
  calls.detach();
  owner.join();
  CHECK(ended);
}

TEST_CASE("a pending can be moved", "[pending]") {
  latched calls;
  calls.detach();
  auto first = calls.start(1);
  auto moved = std::move(first);
  CHECK(moved.get() == 1);
  moved = calls.start(2);
  CHECK(moved.get() == 2);
}

TEST_CASE("a result outlives the threads that it came from", "[pending]") {
  std::unique_ptr<workers> crew(new workers(1));
  auto one =
      pending<int>::start(*crew, {}, [](const std::stop_token&) -> result<int> { return 1; });
  crew.reset();
  CHECK(one.ready());
  CHECK(one.get() == 1);
}

TEST_CASE("without a thread a call fails and says so", "[pending]") {
  pthread_attr_t before;
  pthread_attr_t huge;
  REQUIRE(pthread_getattr_default_np(&before) == 0);
  REQUIRE(pthread_attr_init(&huge) == 0);
  REQUIRE(pthread_attr_setstacksize(&huge, std::size_t{1} << 47) == 0);
  REQUIRE(pthread_setattr_default_np(&huge) == 0);
  const std::unique_ptr<workers> crew(new workers(1));
  auto never =
      pending<int>::start(*crew, {}, [](const std::stop_token&) -> result<int> { return 1; });
  REQUIRE(pthread_setattr_default_np(&before) == 0);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&before);
  REQUIRE(never.ready());
  CHECK(never.try_get().error().code == errc::os_error);
  CHECK(std::string(never.try_get().error().operation).starts_with("no thread can be started"));
}
