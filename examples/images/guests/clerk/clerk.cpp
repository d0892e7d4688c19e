// A guest that needs its host: it reads a setting and logs what it found.
// SPDX-License-Identifier: MIT
#include "clerk.hpp"

#include <array>
#include <cstdint>
#include <string_view>

#include <virtine/guest.hpp>

namespace {

std::uint32_t poll_debugger(std::string_view name) {
  std::array<char, 64> value;
  const std::uint32_t size = virtine::guest::call<read_setting>(name, std::span(value));
  virtine::guest::call<log_line>({value.data(), size});
  return size;
}

// Makes a hypercall that no header declares, as a guest does that was taken over.
void escape() {
  asm volatile("out %%eax, %0" : : "N"(virtine::x86::hypercall_port), "a"(99), "D"(0) : "memory");
}

}  // namespace

VIRTINE_EXPORT(poll_debugger);
VIRTINE_EXPORT(escape);
