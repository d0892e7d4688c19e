// Calls the project's guest with 14 and expects what the command line says; 77 where KVM is
// missing.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>

#include <guests/triple.hpp>
#include <virtine/virtine.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  virtine::virtine_fn<int(int), guests::triple> triple;
  const virtine::result<int> got = triple.try_call(14);
  if (!got) {
    std::printf("%s\n", virtine::to_string(got.error()).c_str());
    return got.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
  std::printf("%d\n", *got);
  return *got == std::atoi(argv[1]) ? 0 : 1;
}
