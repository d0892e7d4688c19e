// Sends back what it receives.
// SPDX-License-Identifier: MIT
#include "../echo.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/guest.hpp>

using virtine::guest::call;

static echo::counts serve() {
  echo::counts made{.entry = __builtin_ia32_rdtsc()};
  std::array<std::byte, 2048> text;
  const std::uint32_t size = call<echo::receive>(std::span<std::byte>(text));
  made.received = __builtin_ia32_rdtsc();
  call<echo::send>(std::span<const std::byte>(text).first(size));
  made.sent = __builtin_ia32_rdtsc();
  return made;
}

VIRTINE_EXPORT(serve);
