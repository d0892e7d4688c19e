// What becomes of calls where operator new fails: every allocation of each scenario has its turn.
// In a program of its own, because it replaces operator new.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "scenarios.hpp"

namespace {

std::atomic<bool> armed = false;
std::atomic<bool> for_good = false;  // Whether all fail after the one that does.
std::atomic<std::int64_t> before_failure = 0;
std::atomic<bool> failed = false;
std::atomic<std::int64_t> living = 0;

void* allocate(std::size_t size, std::size_t alignment) {
  if (armed) {
    const std::int64_t left = before_failure.fetch_sub(1);
    if (left == 0 || (left < 0 && for_good)) {
      failed = true;
      throw std::bad_alloc();
    }
  }
  void* const found =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (found == nullptr) throw std::bad_alloc();
  ++living;
  return found;
}

// Not inlined: g++ would take what `new (std::nothrow)` gives for another allocator's.
[[gnu::noinline]] void release(void* at) {
  if (at != nullptr) --living;
  std::free(at);
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* at) noexcept {
  release(at);
}
void operator delete(void* at, std::size_t) noexcept {
  release(at);
}
void operator delete(void* at, std::align_val_t) noexcept {
  release(at);
}
void operator delete(void* at, std::size_t, std::align_val_t) noexcept {
  release(at);
}

namespace {

/// While one exists, allocation number `which` fails, from 0, of all threads.
class no_memory {
 public:
  no_memory(std::int64_t which, bool later_ones_too) {
    for_good = later_ones_too;
    before_failure = which;
    failed = false;
    armed = true;
  }
  no_memory(const no_memory&) = delete;
  no_memory& operator=(const no_memory&) = delete;
  ~no_memory() { armed = false; }
};

struct attempt {
  virtine::result<void> came_to;
  bool thrown = false;
  bool reached = false;  // Whether there were as many allocations.
  virtine::result<void> afterwards;
};

/// Runs a scenario in which an allocation fails, and then once more with memory.
template <class Scenario>
attempt run(std::int64_t which, bool later_ones_too) {
  attempt out;
  Scenario it;
  try {
    const no_memory now(which, later_ones_too);
    out.came_to = it.run();
  } catch (...) {
    out.thrown = true;
  }
  out.reached = failed;
  out.afterwards = it.run();
  return out;
}

template <class Scenario>
void fail_each_allocation(bool later_ones_too) {
  INFO(Scenario::name << (later_ones_too ? ", for good" : ", once"));
  // Once without a failure, for what is made once in a process.
  REQUIRE(run<Scenario>(INT64_MAX, false).afterwards);
  for (std::int64_t which = 0;; ++which) {
    INFO("allocation " << which);
    const auto descriptors = told::descriptors();
    const std::int64_t before = living;
    const attempt got = run<Scenario>(which, later_ones_too);
    const std::int64_t after = living;
    CHECK(told::descriptors() == descriptors);
    CHECK(after == before);
    CHECK_FALSE(got.thrown);
    if (!got.afterwards) FAIL(virtine::to_string(got.afterwards.error()));
    if (!got.came_to) {
      INFO(virtine::to_string(got.came_to.error()));
      CHECK(got.reached);
      CHECK(got.came_to.error().os_error == ENOMEM);
    }
    if (!got.reached) break;
    REQUIRE(which < 10'000);
  }
}

}  // namespace

TEST_CASE("H110: at whatever allocation memory runs out, calls come to a value or an error",
          "[memory]") {
  const bool later_ones_too = GENERATE(false, true);
  scenario::for_each([&]<class Scenario>() { fail_each_allocation<Scenario>(later_ones_too); });
}

TEST_CASE("a failure says what it is about where there is no memory for its text", "[memory]") {
  const virtine::error why{.code = virtine::errc::os_error,
                           .os_error = ENOMEM,
                           .operation = "an operation whose name takes memory"};
  std::optional<virtine::failure> made;
  {
    const no_memory now(0, true);
    made.emplace(why);
  }
  CHECK(std::string_view(made->what()) == why.operation);
  CHECK(made->error().os_error == ENOMEM);
}
