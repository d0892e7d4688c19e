// Calls functions in virtual machines of their own, and shows what that costs and what it keeps
// them from. Run: build/examples/quickstart
// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <virtine/virtine.hpp>

#include "floor.hpp"
#include "quickstart.guest.hpp"  // virtine-cc makes it of this file

VIRTINE(square, (int n) -> int) {
  return n * n;
}

VIRTINE(sum, (std::span<const int> values) -> long) {
  return std::accumulate(values.begin(), values.end(), 0L);
}

VIRTINE(words, (std::string_view text) -> int) {
  int count = text.empty() ? 0 : 1;
  for (char c : text) count += c == ' ' ? 1 : 0;
  return count;
}

// Reads what lies at an address, as code does that was led astray.
VIRTINE(peek, (std::uint64_t address) -> int) {
  return *reinterpret_cast<const volatile int*>(address);
}

namespace {

// Returns what a call takes in microseconds: the median of many.
template <class Call>
double cost(const Call& call) {
  std::vector<double> took(501);
  for (double& one : took) {
    const auto begin = std::chrono::steady_clock::now();
    call();
    one =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  }
  std::ranges::nth_element(took, took.begin() + 250);
  return took[250];
}

void show(const char* call, const std::string& result, double microseconds) {
  std::printf("  %-36s %-10s %8.1f us\n", call, result.c_str(), microseconds);
}

// The least that any call into a virtual machine costs here: entering one and leaving it again.
void show_floor() {
  bench::floor_guest guest;
  bench::floor_machine machine;
  if (bench::floor_prepare(&guest) == 0 && bench::floor_create(&guest, &machine) == 0) {
    show("the floor: a bare KVM_RUN", "", cost([&] { bench::floor_run(&machine); }));
  }
  bench::floor_destroy(&guest, &machine);
}

void run() {
  const int squared = square(12);  // Throws virtine::failure where there is no KVM.
  std::printf(
      "Three functions, each call in a virtual machine that is wiped before the next,\n"
      "and what a call takes, entering, leaving and wiping included:\n\n");
  show("square(12)", std::to_string(squared), cost([] { square(12); }));

  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 1);
  show("sum(1, 2, ... 1000)", std::to_string(sum(values)), cost([&] { sum(values); }));

  constexpr std::string_view saying = "one machine for each call";
  show("words(\"one machine for each call\")", std::to_string(words(saying)),
       cost([&] { words(saying); }));
  show_floor();

  const int secret = 42;
  const auto seen = peek.try_call(reinterpret_cast<std::uintptr_t>(&secret));
  std::printf(
      "\nA call has its arguments, and nothing else of this process or of the system.\n"
      "One more function tries to read a variable of this program:\n\n  peek(%p)   %s\n",
      static_cast<const void*>(&secret), seen ? "WAS NOT STOPPED" : name(seen.error().fault.kind));
  std::printf(
      "\nNext: docs/guide.md   writing such functions, and granting them more\n"
      "      examples        programs to start from\n"
      "      build/guests/virtine-doctor, which says what virtines find here\n");
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n\nbuild/guests/virtine-doctor looks closer.\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// Three functions, each call in a virtual machine that is wiped before the next,
// and what a call takes, entering, leaving and wiping included:
//
//   square(12)                           144        ... us
//   sum(1, 2, ... 1000)                  500500     ... us
//   words("one machine for each call")   5          ... us
//   the floor: a bare KVM_RUN                       ... us
//
// A call has its arguments, and nothing else of this process or of the system.
// One more function tries to read a variable of this program:
//
//   peek(...)   access to unmapped memory
//
// Next: docs/guide.md   writing such functions, and granting them more
//       examples        programs to start from
//       build/guests/virtine-doctor, which says what virtines find here
