// How policies and callers reach the memory of a guest that is stopped, whatever its machine is.
// Knows nothing of machines.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <virtine/guest_memory.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

/// Access to the memory of a guest that is stopped at a hypercall. Both calls check the range and
/// fail with errc::out_of_range.
class guest_access {
 public:
  virtual ~guest_access() = default;
  /// Returns a view of memory that the guest can read.
  [[nodiscard]] virtual result<std::span<const std::byte>> read(guest_address address,
                                                                std::uint64_t length) = 0;
  /// Copies `from` to memory that the guest can write.
  [[nodiscard]] virtual result<void> write(guest_address address,
                                           std::span<const std::byte> from) = 0;
};

}  // namespace virtine::detail
