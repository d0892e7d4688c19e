// Compares bytes so that a test's report stays short.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <sstream>
#include <string>

/// Returns the first words in which the two differ, as "OFFSET: SEEN, not EXPECTED"; empty if they
/// do not.
inline std::string differences(std::span<const std::byte> seen,
                               std::span<const std::byte> expected) {
  if (seen.size() != expected.size()) return "the sizes differ";
  std::ostringstream out;
  out << std::hex;
  int found = 0;
  for (std::size_t at = 0; at < seen.size() && found < 8; at += sizeof(std::uint64_t)) {
    const std::size_t size = std::min(sizeof(std::uint64_t), seen.size() - at);
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, seen.data() + at, size);
    std::memcpy(&b, expected.data() + at, size);
    if (a == b) continue;
    out << at << ": " << a << ", not " << b << "; ";
    ++found;
  }
  return out.str();
}
