// How many machines of the tests' pools share a VM, unless a test says so itself. Without
// VIRTINE_TEST_MACHINES_PER_VM in the environment it is 1, as the library has it.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdlib>

inline std::size_t machines_per_vm_of_tests() {
  const char* const wanted = std::getenv("VIRTINE_TEST_MACHINES_PER_VM");
  return wanted == nullptr ? 1 : std::strtoul(wanted, nullptr, 10);
}
