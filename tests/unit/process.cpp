// What a process has for itself; tests/kvm/forks.cpp has the children of fork.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <virtine/os/process.hpp>

using namespace virtine;

namespace {

struct counted {
  static inline int made = 0;
  static inline int destroyed = 0;
  counted() { ++made; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { ++destroyed; }
};

}  // namespace

TEST_CASE("what a process has for itself is made and destroyed once", "[process]") {
  {
    os::per_process<counted> one;
    CHECK(counted::made == 1);
    CHECK(&one.get() == &one.get());
    CHECK(counted::made == 1);
  }
  CHECK(counted::destroyed == 1);
  { const os::per_process<counted> never_asked; }
  CHECK(counted::made == 2);
  CHECK(counted::destroyed == 2);
}
