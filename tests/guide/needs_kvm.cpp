// Ends a program before its main function, as skipped, where there is no KVM: for programs that are
// to be as a document has them.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>

#include <virtine/kvm/system.hpp>

[[maybe_unused]] static const bool there_is_kvm = [] {
  if (const auto system = virtine::kvm::system::open(); !system) {
    std::printf("skipped: %s\n", virtine::to_string(system.error()).c_str());
    std::exit(77);
  }
  return true;
}();
