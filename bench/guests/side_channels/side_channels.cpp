// A victim that does something different for each secret, and a spy that times what of it is left
// in the processor.
// SPDX-License-Identifier: MIT
#include "side_channels.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>

#include <virtine/guest.hpp>

namespace {

constexpr std::size_t line = 64;
constexpr std::size_t page = 4096;
constexpr std::size_t max_pages = 512;

// Nobody writes to these, so that all reads give zeros, and no call has to restore them.
alignas(page) unsigned char spys[max_pages * page];
alignas(page) unsigned char victims[max_pages * page];
alignas(page) constexpr unsigned char constants[16 * page] = {1};

/// Where in a page of the constants its victim reads: nowhere that a prefetcher would guess.
const unsigned char* constant(std::size_t number) {
  return constants + number * page + (number * 13 % 31 * 2 + 1) * line;
}

// An order without steps that repeat, for the same reason.
constexpr unsigned char scattered[] = {9, 2, 14, 5, 11, 0, 7, 12, 3, 15, 6, 10, 1, 13, 8, 4};

std::uint64_t now() {
  std::uint32_t low;
  std::uint32_t high;
  asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
  return std::uint64_t{high} << 32 | low;
}

/// Reads one line in each of `pages` pages, each after the one before, and returns how long it
/// took.
std::uint32_t read(const unsigned char* memory, std::size_t place, std::size_t pages,
                   bool upwards) {
  std::uint64_t zero = 0;
  const std::uint64_t begin = now();
  for (std::size_t i = 0; i < pages; ++i) {
    const std::size_t number = upwards ? i : pages - 1 - i;
    asm volatile("add (%[at]), %[zero]"
                 : [zero] "+r"(zero)
                 : [at] "r"(memory + number * page + place * line + zero)
                 : "memory");
  }
  return static_cast<std::uint32_t>(now() - begin);
}

/// Takes a branch, or not, and returns how long that took. What the processor remembers of branches
/// before this one is always the same.
template <std::size_t>
[[gnu::noinline]] std::uint32_t branch(std::uint64_t taken) {
  std::uint32_t time;
  asm volatile(
      "mov $300, %%ecx; 1: dec %%ecx; jnz 1b\n"
      "lfence; rdtsc; lfence; mov %%eax, %%ecx\n"
      "test %[taken], %[taken]; jnz 2f; nop; nop; 2:\n"
      "lfence; rdtsc; sub %%ecx, %%eax"
      : "=&a"(time)
      : [taken] "r"(taken)
      : "rcx", "rdx", "cc", "memory");
  return time;
}

/// Jumps to one of two places, and returns how long that took.
template <std::size_t>
[[gnu::noinline]] std::uint32_t jump(std::uint64_t second) {
  std::uint32_t time;
  asm volatile(
      "mov $300, %%ecx; 1: dec %%ecx; jnz 1b\n"
      "lea 2f(%%rip), %%r8; lea 3f(%%rip), %%r9; test %[second], %[second]; cmovnz %%r9, %%r8\n"
      "lfence; rdtsc; lfence; mov %%eax, %%ecx\n"
      "jmp *%%r8\n"
      "2: nop; jmp 4f; .balign 64; 3: nop; 4:\n"
      "lfence; rdtsc; sub %%ecx, %%eax"
      : "=&a"(time)
      : [second] "r"(second)
      : "rcx", "rdx", "r8", "r9", "cc", "memory");
  return time;
}

/// Runs all copies of a branch, so that one that another branch disturbs does not count for much.
template <std::size_t... Copy>
void run_copies(channel which, std::uint64_t how, seen& times, std::index_sequence<Copy...>) {
  ((times[Copy] = which == direction ? branch<Copy>(how) : jump<Copy>(how)), ...);
}

void run_branches(channel which, std::uint64_t how, seen& times) {
  run_copies(which, how, times, std::make_index_sequence<parts_of(direction)>{});
}

/// Probes what the victim may have changed since the last time, and prepares the next. `pages` is
/// how large the cache of the channel is.
seen spy(int of, std::uint32_t pages) {
  const auto which = static_cast<channel>(of);
  seen times{};
  switch (which) {
    case l1d:
      read(spys, 0, pages, false);  // For the translations.
      for (std::size_t i = 0; i < parts_of(l1d); ++i) {
        const std::size_t set = scattered[i % 16] + 16 * (i / 16);
        times[set] = read(spys, set, pages, false);
      }
      for (std::size_t set = 0; set < parts_of(l1d); ++set) read(spys, set, pages, true);
      break;
    case l2:
      read(spys, 0, pages, false);
      for (const std::size_t number : scattered) {
        times[number] = read(spys, place_of(static_cast<int>(number)), pages, false);
      }
      for (std::size_t i = 0; i < parts_of(l2); ++i)
        read(spys, place_of(static_cast<int>(i)), pages, true);
      break;
    case shared:
      for (const std::size_t number : scattered) read(constants + number * page, 0, 1, true);
      for (const std::size_t number : scattered) {
        times[number] = read(constant(number), 0, 1, true);
        asm volatile("clflush (%0)" : : "r"(constant(number)) : "memory");
      }
      break;
    case direction:
    case target:
      run_branches(which, 1, times);
      break;
  }
  return times;
}

/// Does what `secret` makes it do.
std::uint32_t victim(int of, int secret, std::uint32_t pages) {
  const auto which = static_cast<channel>(of);
  seen unused{};
  switch (which) {
    case l1d:
      for (int i = 0; i < 4; ++i) read(victims, place_of(secret), pages, i % 2 == 0);
      break;
    case l2:
      read(victims, place_of(secret), pages, true);
      break;
    case shared:
      read(constant(static_cast<std::size_t>(secret)), 0, 1, true);
      break;
    case direction:
    case target:
      for (int i = 0; i < 64; ++i) run_branches(which, static_cast<std::uint64_t>(secret), unused);
      break;
  }
  return pages;
}

/// Spy and victim without anything between them: what the spy can tell at best.
seen together(int of, int secret, std::uint32_t pages) {
  spy(of, pages);
  victim(of, secret, pages);
  return spy(of, pages);
}

}  // namespace

VIRTINE_EXPORT(spy);
VIRTINE_EXPORT(victim);
VIRTINE_EXPORT(together);
