// A process that has given up all but its calls: a seccomp filter refuses every system call that
// virtines do not need, before the first guest runs.
// Run: build/examples/confined
// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <virtine/virtine.hpp>

#include "calls_only.hpp"
#include "confined.guest.hpp"  // virtine-cc makes it of this file

VIRTINE(square, (int n) -> int) {
  return n * n;
}

VIRTINE(spin, (int n) -> int) {
  volatile int forever = n;
  while (forever == n) continue;
  return forever;
}

VIRTINE(peek, (std::uint64_t address) -> int) {
  return *reinterpret_cast<volatile int*>(address);
}

namespace {

using namespace std::chrono_literals;

template <class T>
void report(const char* what, const virtine::result<T>& outcome) {
  std::printf(
      "%-18s %s\n", what,
      outcome ? std::to_string(*outcome).c_str() : virtine::to_string(outcome.error()).c_str());
}

void refused(const char* what, long made) {
  std::printf("%-18s %s\n", what, made < 0 ? std::strerror(errno) : "done?");
}

int run() {
  // Opens /dev/kvm and makes a machine. No guest has run yet.
  if (auto ready = square.pool().warm_up(1); !ready) throw virtine::failure(ready.error());
  if (!calls_only::confine(calls_only::to_call)) {
    std::printf("no filter: %s\n", std::strerror(errno));
    return 77;
  }

  report("square(3)", square.try_call(3));
  report("spin, 20 ms", spin.with({.timeout = 20ms}).try_call(1));
  report("peek(0)", peek.try_call(0));
  report("square(4), later", square.async(4).try_get());
  virtine::session open(square);
  report("square(5), open", open.try_call(5));
  const std::vector<int> jobs{6, 7};
  for (const auto& each : square.each(jobs)) report("square of each", each);

  // What a guest that had this process in its hands could not do.
  refused("open", ::open("/etc/passwd", O_RDONLY));
  refused("socket", ::socket(AF_INET, SOCK_STREAM, 0));
  refused("fork", ::fork());
  refused("execve", ::execl("/bin/sh", "sh", nullptr));
  void* const code =
      ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  refused("code", code == MAP_FAILED ? -1 : 0);
  return 0;
}

}  // namespace

int main() {
  // As printf would otherwise ask the kernel what it prints to.
  static char buffer[4096];
  std::setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
  try {
    return run();
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// square(3)          9
// spin, 20 ms        timed_out: the call was not done at its deadline (call_options::timeout)
// peek(0)            guest_fault: null pointer access reading 0x0 at 0x... in ...
// square(4), later   16
// square(5), open    25
// square of each     36
// square of each     49
// open               Operation not permitted
// socket             Operation not permitted
// fork               Operation not permitted
// execve             Operation not permitted
// code               Operation not permitted
