// Slots, by one thread step by step and by several at once.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <virtine/pool/slots.hpp>

using namespace virtine;
using namespace virtine::detail;

TEST_CASE("a thread finds what it put into its slot", "[slots]") {
  slots<int> all;
  int item = 0;
  CHECK(all.take() == nullptr);
  CHECK(all.put(&item) == nullptr);
  CHECK(all.full() == 1);
  CHECK(all.take() == &item);
  CHECK(all.take() == nullptr);
  CHECK(all.full() == 0);
}

TEST_CASE("what is put last is found first, and what was there comes back", "[slots]") {
  slots<int> all;
  int first = 0;
  int second = 0;
  CHECK(all.put(&first) == nullptr);
  CHECK(all.put(&second) == &first);
  CHECK(all.take() == &second);
}

TEST_CASE("another thread can steal it, once", "[slots]") {
  slots<int> all;
  int item = 0;
  CHECK(all.steal() == nullptr);
  CHECK(all.put(&item) == nullptr);
  int* stolen = nullptr;
  int* again = &item;
  std::thread([&] {
    // Its own slot is another one.
    if (all.take() == nullptr) stolen = all.steal();
    again = all.steal();
  }).join();
  CHECK(stolen == &item);
  CHECK(again == nullptr);
  CHECK(all.take() == nullptr);
}

TEST_CASE("nothing gets into closed slots or out of them", "[slots]") {
  slots<int> all;
  int item = 0;
  std::vector<int*> found;
  const auto keep = [&](int* each) { found.push_back(each); };
  CHECK(all.put(&item) == nullptr);
  all.close(keep);
  CHECK(found == std::vector{&item});
  CHECK(all.take() == nullptr);
  CHECK(all.steal() == nullptr);
  CHECK(all.full() == 0);
  CHECK(all.put(&item) == &item);
  all.close(keep);
  CHECK(found.size() == 1);
  all.open();
  CHECK(all.take() == nullptr);
  CHECK(all.put(&item) == nullptr);
  CHECK(all.take() == &item);
}

TEST_CASE("threads lose nothing and share nothing, while slots open and close", "[slots]") {
  constexpr int rounds = 2000;
  slots<std::atomic<int>> all;
  std::array<std::atomic<int>, 3> items{};
  std::mutex guard;
  std::vector<std::atomic<int>*> kept;  // Guarded.
  for (auto& each : items) kept.push_back(&each);
  std::atomic<int> shared = 0;
  std::atomic<int> running = 4;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < rounds; ++i) {
        std::atomic<int>* mine = i % 3 == 0 ? all.steal() : all.take();
        if (mine == nullptr) {
          std::lock_guard lock(guard);
          if (!kept.empty()) {
            mine = kept.back();
            kept.pop_back();
          }
        }
        if (mine == nullptr) continue;
        if (mine->fetch_add(1) != 0) ++shared;
        mine->fetch_sub(1);
        if (auto* left = all.put(mine); left != nullptr) {
          std::lock_guard lock(guard);
          kept.push_back(left);
        }
      }
      --running;
    });
  }
  const auto gather = [&] {
    std::lock_guard lock(guard);
    all.close([&](std::atomic<int>* each) { kept.push_back(each); });
  };
  while (running > 0) {
    gather();
    std::lock_guard lock(guard);
    all.open();
  }
  for (auto& thread : threads) thread.join();
  gather();
  CHECK(shared == 0);
  CHECK(kept.size() == items.size());
}
