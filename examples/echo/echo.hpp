// What the guests that echo and their host agree on. The socket is the host's; a guest says only
// when to receive, and what to send.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/hypercall.hpp>

namespace echo {

/// Waits for bytes and copies them; returns how many: 0 if there will be no more.
struct receive : virtine::hypercall<1, std::uint32_t(std::span<std::byte> to)> {};

/// Sends bytes; returns how many.
struct send : virtine::hypercall<2, std::uint32_t(std::span<const std::byte> from)> {};

/// What the guest's time-stamp counter said at its entry, after it had received, and had sent.
struct counts {
  std::uint64_t entry = 0;
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
};

}  // namespace echo
