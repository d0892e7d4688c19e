// Compares a page made by constexpr code with the flat binary an assembler made.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/abi/user64.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "catch.hpp"

/// Fails unless the file that environment variable `variable` names holds exactly `expected`.
inline void check_assembled(const char* variable, const virtine::x86::page& expected) {
  const char* path = std::getenv(variable);
  if (path == nullptr) FAIL(variable << " does not name the assembled binary");
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  INFO(path);
  REQUIRE(bytes.size() == expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto assembled = static_cast<unsigned>(static_cast<unsigned char>(bytes[i]));
    if (assembled != std::to_integer<unsigned>(expected[i])) {
      FAIL("offset " << i << ": assembler " << assembled << ", ours "
                     << std::to_integer<unsigned>(expected[i]));
    }
  }
}
