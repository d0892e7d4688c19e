// What a warmed call asks of the host besides entering the VM: no memory and, under strace
// (warmed_call.py), no other system call.
// SPDX-License-Identifier: MIT
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <guests/square.hpp>
#include <virtine/virtine.hpp>

namespace {

std::atomic<std::size_t> allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* const found =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (found == nullptr) throw std::bad_alloc();
  return found;
}

// Not inlined: g++ would take what `new (std::nothrow)` gives for another allocator's.
[[gnu::noinline]] void release(void* at) {
  std::free(at);
}

// A system call that the script finds in the trace, and that fails at once.
void mark() {
  syscall(SYS_close, -1);
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(size, 1);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* at) noexcept {
  release(at);
}
void operator delete(void* at, std::size_t) noexcept {
  release(at);
}
void operator delete(void* at, std::align_val_t) noexcept {
  release(at);
}
void operator delete(void* at, std::size_t, std::align_val_t) noexcept {
  release(at);
}

int main() {
  if (auto system = virtine::kvm::system::open(); !system) {
    std::printf("skipped: %s\n", virtine::to_string(system.error()).c_str());
    return 77;
  }
  constexpr int calls = 100;
  int wrong = 0;
  virtine::virtine_fn<int(int), guests::square> square;
  if (const auto first = square.try_call(0); !first) {
    std::printf("failed: %s\n", virtine::to_string(first.error()).c_str());
    return 1;
  }
  for (int i = 0; i < 10; ++i) wrong += square.try_call(i).value_or(-1) != i * i;
  const std::size_t before = allocations;
  mark();
  for (int i = 0; i < calls; ++i) wrong += square.try_call(i).value_or(-1) != i * i;
  mark();
  const std::size_t after = allocations;
  std::printf("%d calls, %d wrong, %zu allocations before, %zu in them\n", calls, wrong, before,
              after - before);
  return wrong == 0 && before > 0 && after == before ? 0 : 1;
}
