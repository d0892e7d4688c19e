// Makes the system calls that its host lists. Knows no particular one.
// SPDX-License-Identifier: MIT
#include <cstddef>
#include <span>

#include <virtine/environment.hpp>
#include <virtine/guest.hpp>

#include "calls_types.hpp"
#include "system_call.hpp"

static void make_calls(std::span<told_call> calls, std::span<std::byte> memory) {
  const auto address = [&](std::uint64_t offset) {
    return reinterpret_cast<std::uint64_t>(memory.data()) + offset;
  };
  std::uint64_t rounds = 1;
  for (told_call& each : calls) {
    std::array<std::uint64_t, 6> a = each.arguments;
    if (each.number == store_address) {
      *reinterpret_cast<std::uint64_t*>(memory.data() + a[0]) = address(a[1]);
      continue;
    }
    if (each.number == repeat) {
      rounds = a[0];
      continue;
    }
    for (std::size_t i = 0; i < a.size(); ++i) {
      if ((each.relative >> i & 1) != 0) a[i] = address(a[i]);
    }
    for (std::uint64_t round = 0; round < rounds; ++round) {
      each.result = raw::system_call(each.number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    rounds = 1;
  }
}

static std::uint64_t ask_for_strings(bool environment, std::span<std::byte> to) {
  return environment ? virtine::guest::call<virtine::environment>(to)
                     : virtine::guest::call<virtine::program_arguments>(to);
}

// Whether a system call changes any register but RAX, or a flag.
static bool keeps_registers() {
  std::uint64_t changed = 0;
  asm volatile(
      "mov $39, %%eax\n\t"
      "mov $11, %%rcx\n\t mov $12, %%rdx\n\t mov $13, %%rsi\n\t mov $14, %%rdi\n\t"
      "mov $15, %%r8\n\t mov $16, %%r9\n\t mov $17, %%r10\n\t mov $18, %%r11\n\t"
      "mov $19, %%r12\n\t mov $20, %%r13\n\t mov $21, %%r14\n\t mov $22, %%r15\n\t"
      "stc\n\t"
      "out %%eax, $0xe8\n\t"
      "setnc %%bl\n\t movzx %%bl, %%ebx\n\t"
      "sub $11, %%rcx\n\t or %%rcx, %%rbx\n\t sub $12, %%rdx\n\t or %%rdx, %%rbx\n\t"
      "sub $13, %%rsi\n\t or %%rsi, %%rbx\n\t sub $14, %%rdi\n\t or %%rdi, %%rbx\n\t"
      "sub $15, %%r8\n\t or %%r8, %%rbx\n\t sub $16, %%r9\n\t or %%r9, %%rbx\n\t"
      "sub $17, %%r10\n\t or %%r10, %%rbx\n\t sub $18, %%r11\n\t or %%r11, %%rbx\n\t"
      "sub $19, %%r12\n\t or %%r12, %%rbx\n\t sub $20, %%r13\n\t or %%r13, %%rbx\n\t"
      "sub $21, %%r14\n\t or %%r14, %%rbx\n\t sub $22, %%r15\n\t or %%r15, %%rbx\n\t"
      "sub $1, %%rax\n\t or %%rax, %%rbx\n\t"
      : "=b"(changed)
      :
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "cc", "memory");
  return changed == 0;
}

VIRTINE_EXPORT(make_calls);
VIRTINE_EXPORT(ask_for_strings);
VIRTINE_EXPORT(keeps_registers);
