// What the C interface makes of exceptions.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <pthread.h>

#include <new>
#include <stdexcept>
#include <string>

#include <virtine/c/handle.hpp>

using namespace virtine::detail;

namespace {

int thread_has_ended = 0;

template <class Body>
std::string text_of(int expected, const Body& body) {
  virtine_error error = VIRTINE_ERROR_INIT;
  CHECK(guarded(&error, body) == expected);
  return error.text;
}

}  // namespace

TEST_CASE("no exception comes out of the C interface, whatever its type", "[c]") {
  const std::string thrown = "misuse: a handler, or the C++ library, threw an exception";
  CHECK(text_of(VIRTINE_MISUSE, []() -> c_failure { throw 1; }) == thrown);
  CHECK(text_of(VIRTINE_MISUSE, []() -> c_failure { throw "text"; }) == thrown);
  CHECK(text_of(VIRTINE_MISUSE, []() -> c_failure { throw std::runtime_error("why"); }) == thrown);
  CHECK(text_of(VIRTINE_OS_ERROR, []() -> c_failure { throw std::bad_alloc(); }).find("memory") !=
        std::string::npos);
}

// It unwinds the stack as an exception does, and the C library ends a process that holds it up.
TEST_CASE("a thread can end inside the C interface", "[c]") {
  pthread_t thread{};
  const auto body = [](void*) -> void* {
    guarded(nullptr, []() -> c_failure { pthread_exit(&thread_has_ended); });
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, nullptr, body, nullptr) == 0);
  void* returned = nullptr;
  REQUIRE(pthread_join(thread, &returned) == 0);
  CHECK(returned == &thread_has_ended);
}
