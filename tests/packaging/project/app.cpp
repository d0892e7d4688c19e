// Marks a function of its own, calls it with 14 and expects what the command line says; 77 where
// KVM is missing.
// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <iostream>

#include <virtine/virtine.hpp>

#include "app.guest.hpp"

VIRTINE(multiple, (int n) -> int) {
  return n * 3;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const virtine::result<int> got = multiple.try_call(14);
  if (!got) {
    std::cout << virtine::to_string(got.error()) << '\n';
    return got.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
  std::cout << *got << '\n';
  return *got == std::atoi(argv[1]) ? 0 : 1;
}
