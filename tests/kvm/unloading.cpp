// Loads a shared object that uses the library, and unloads it, more often than there are signals.
// Must not use the library.
// Usage: unloading plugin.so
// SPDX-License-Identifier: MIT
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

void check(bool right, const char* what) {
  if (right) return;
  std::printf("failed: %s\n", what);
  std::exit(1);
}

void load_and_unload(const char* path) {
  void* const loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  check(loaded != nullptr, "dlopen");
  // Sound: it is a function of this type.
  auto* const use = reinterpret_cast<const char* (*)()>(dlsym(loaded, "use_virtines"));
  check(use != nullptr, "dlsym");
  // A thread's variables, in the shared object too, live as long as it does.
  const char* wrong = nullptr;
  std::thread([&] { wrong = use(); }).join();
  check(wrong == nullptr, wrong);
  check(dlclose(loaded) == 0 && dlopen(path, RTLD_NOW | RTLD_NOLOAD) == nullptr, "dlclose");
}

}  // namespace

int main(int argc, char** argv) {
  check(argc == 2, "usage");
  if (access("/dev/kvm", R_OK | W_OK) != 0) return 77;
  for (int times = 0; times < 40; ++times) load_and_unload(argv[1]);
  return 0;
}
