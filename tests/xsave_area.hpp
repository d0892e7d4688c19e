// What KVM tells of XSAVE areas without meaning it, for tests that compare them.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

/// Gives an XSAVE area the MXCSR that the guest has, and no MXCSR_MASK, which is the processor's.
/// While SSE state is not in use, MXCSR has its initial value. Some processors' XSAVES does not
/// store it then, and Linux gives one of a time before, or none with its mask.
inline void settle_mxcsr(std::span<std::byte> area) {
  constexpr std::size_t mxcsr = 24, mxcsr_mask = 28, components_in_use = 512;
  constexpr std::byte sse{2};
  constexpr std::uint32_t initial = 0x1f80;
  if ((area[components_in_use] & sse) == std::byte{0}) {
    std::memcpy(&area[mxcsr], &initial, sizeof initial);
  }
  std::memset(&area[mxcsr_mask], 0, sizeof initial);
}
