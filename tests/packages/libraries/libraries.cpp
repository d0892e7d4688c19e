// Each library of docs/libraries.md that is installed gives in a guest the answers that are known.
// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>

#include <virtine/posix.hpp>
#include <virtine/virtine.hpp>

#include "all.hpp"

using namespace virtine;

namespace {

template <class Image>
void check_works(const char* name) {
  INFO(name);
  auto policy = posix::minimal();
  const virtine_fn<int(), Image, decltype(policy)> works{policy};
  const auto line = works.try_call();
  INFO((line ? std::string() : to_string(line.error())));
  REQUIRE(line.has_value());
  CHECK(*line == 0);
}

}  // namespace

TEST_CASE("libraries of the distribution give the answers that are known", "[libraries]") {
#define CHECK_WORKS(image, function, name) check_works<guests::image>(name);
  LIBRARIES(CHECK_WORKS)
}
