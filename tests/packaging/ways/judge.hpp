// Tells a right answer from a wrong one, and both from a machine without KVM.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>

#include <virtine/virtine.hpp>

#include "parts.hpp"

inline outcome judge(const char* call, const virtine::result<int>& got, int expected) {
  if (!got) {
    if (got.error().code == virtine::errc::no_kvm) return no_kvm;
    std::printf("%s: %s\n", call, virtine::to_string(got.error()).c_str());
    return wrong;
  }
  if (*got != expected) std::printf("%s gave %d instead of %d\n", call, *got, expected);
  return *got == expected ? right : wrong;
}

/// Either all calls reach KVM, or none does.
inline outcome both(outcome one, outcome other) {
  return one == other ? one : wrong;
}
