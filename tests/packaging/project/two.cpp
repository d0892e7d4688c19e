// Calls two marked functions of one name with 14, and expects what the command line says of the
// one, and 1000 more than that says of the other; 77 where KVM is missing. Usage: two ANSWER_OF_A
// ANSWER_OF_B
// SPDX-License-Identifier: MIT
#include "two.hpp"

#include <cstdio>
#include <cstdlib>

#include <virtine/error.hpp>

static int judge(const virtine::result<int>& got, int expected) {
  if (!got) {
    std::printf("%s\n", virtine::to_string(got.error()).c_str());
    return got.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
  std::printf("%d\n", *got);
  return *got == expected ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int one = judge(a(14), std::atoi(argv[1]));
  const int other = judge(b(14), 1000 + std::atoi(argv[2]));
  return one == other ? one : 1;
}
