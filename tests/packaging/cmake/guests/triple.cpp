// The guest of a project whose target has include directories and definitions.
// SPDX-License-Identifier: MIT
#include <string_view>

#include <of_target.hpp>
#include <virtine/guest.hpp>

static_assert(std::string_view(TEXT) == "two words" && CHOSEN == 1);

static int triple(int n) {
  return n * 3 + none;
}

VIRTINE_EXPORT(triple);
