// The main function of every test program. One that needs KVM is built with
// VIRTINE_TEST_NEEDS_KVM and says "skipped" (exit status 77) where there is none.
// SPDX-License-Identifier: MIT
#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

#ifdef VIRTINE_TEST_NEEDS_KVM
#include <cstdio>

#include <virtine/kvm/system.hpp>
#endif

int main(int argc, char** argv) {
#ifdef VIRTINE_TEST_NEEDS_KVM
  if (auto system = virtine::kvm::system::open(); !system) {
    std::printf("skipped: %s\n", virtine::to_string(system.error()).c_str());
    return 77;
  }
#endif
  return Catch::Session().run(argc, argv);
}
