// A system call as rewritten code makes it: registers as Linux has them, an `out` for the
// instruction. Knows no particular call.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <virtine/abi/user64.hpp>

namespace raw {

inline long system_call(std::uint64_t number, std::uint64_t a = 0, std::uint64_t b = 0,
                        std::uint64_t c = 0, std::uint64_t d = 0, std::uint64_t e = 0,
                        std::uint64_t f = 0) {
  register std::uint64_t r10 asm("r10") = d;
  register std::uint64_t r8 asm("r8") = e;
  register std::uint64_t r9 asm("r9") = f;
  long result = static_cast<long>(number);
  asm volatile("out %%eax, %[port]"
               : "+a"(result)
               : [port] "N"(virtine::x86::system_call_port), "D"(a), "S"(b), "d"(c), "r"(r10),
                 "r"(r8), "r"(r9)
               : "memory");
  return result;
}

}  // namespace raw
