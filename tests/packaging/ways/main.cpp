// Calls the guest, here and in the other file, and the functions of a shared object, which it loads
// and unloads twice. Ends with 77, and prints no_kvm, where KVM is missing.
// Usage: main ANSWER [PLUGIN [stays]], where ANSWER is the guest's to 14
// SPDX-License-Identifier: MIT
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include <guests/triple.hpp>
#include <virtine/virtine.hpp>

#include "judge.hpp"
#include "parts.hpp"

static outcome call_plugin(const char* path, bool stays, int expected) {
  void* const loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) {
    std::printf("%s\n", dlerror());
    return wrong;
  }
  // Sound: it is a function of this type.
  auto* const call = reinterpret_cast<outcome (*)(int)>(dlsym(loaded, "call_virtines"));
  const outcome got = call != nullptr ? call(expected) : wrong;
  dlclose(loaded);
  if (!stays && dlopen(path, RTLD_NOW | RTLD_NOLOAD) != nullptr) {
    std::printf("%s is still there\n", path);
    return wrong;
  }
  return got;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const int expected = std::atoi(argv[1]);
  virtine::virtine_fn<int(int), guests::triple> triple;
  outcome all = both(judge("triple", triple.try_call(14), expected), call_others(expected));
  if (argc > 2) {
    for (int times = 0; times < 2; ++times) {
      all = both(all, call_plugin(argv[2], argc > 3, expected));
    }
  }
  if (all == no_kvm) std::puts("no_kvm");
  return all;
}
