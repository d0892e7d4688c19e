// Grants guests random bytes, from the kernel. Knows nothing of what they are for.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include <virtine/entropy.hpp>
#include <virtine/policy.hpp>

namespace virtine {

namespace detail {
/// Fills `bytes` from the kernel's generator; returns whether it could, which it cannot before it
/// is seeded, early in the host's boot. Waiting for that could be longer than a call has time.
inline bool fill_randomly(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    constexpr std::size_t uninterrupted = 256;  // So few at a time are never cut short.
    const ::ssize_t got =
        ::getrandom(bytes.data(), std::min(bytes.size(), uninterrupted), GRND_NONBLOCK);
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}
}  // namespace detail

/// Allows `entropy`: cryptographically random bytes of the kernel (getrandom), up to `Most` for
/// each request. A request for more, or one that cannot be met, ends the call with
/// errc::hypercall_rejected.
template <std::size_t Most = 256>
auto allow_entropy() {
  return allow<entropy>([](guest_buffer<std::byte> out) -> answer<void> {
    if (out.size() > Most) return reject{};
    std::array<std::byte, Most> bytes;
    const auto wanted = std::span(bytes).first(out.size());
    // A guest that gets less must not take the rest for random.
    if (!detail::fill_randomly(wanted) || out.fill(wanted) != out.size()) return reject{};
    return {};
  });
}

}  // namespace virtine
