// Does a guest's preparations once, saves what they left for other processes, and gives each call
// random numbers of its own.
// Run: build/examples/snapshot
// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include <guests/sieve.hpp>
#include <virtine/snapshot_file.hpp>
#include <virtine/virtine.hpp>

namespace {

using sieve = guests::sieve;

void call(const char* when) {
  auto policy = virtine::policy{virtine::allow_entropy()};
  virtine::pool<sieve> pool;
  virtine::virtine_fn<bool(std::uint16_t), sieve::is_prime, decltype(policy)> is_prime{pool,
                                                                                       policy};
  virtine::virtine_fn<std::uint32_t(), sieve::lookups_so_far, decltype(policy)> lookups{pool,
                                                                                        policy};
  virtine::virtine_fn<std::uint64_t(), sieve::make_key, decltype(policy)> make_key{pool, policy};

  // The first call of a process runs the initialiser, unless a snapshot was loaded.
  std::printf("%s: 65521 is %sprime, 65523 is %sprime\n", when, is_prime(65521) ? "" : "not ",
              is_prime(65523) ? "" : "not ");
  // Every call begins with what it left, not with what another call did since.
  std::printf("lookups before this call: %u\n", lookups());
  // So what must differ between calls comes from outside.
  std::printf("two keys are %s\n", make_key() == make_key() ? "the same" : "different");
}

void run() {
  const std::string file =
      std::filesystem::temp_directory_path() / ("virtine-sieve-" + std::to_string(getpid()));

  call("prepared here");
  if (auto saved = virtine::save_snapshot<sieve>(file); !saved) {
    std::printf("%s\n", virtine::to_string(saved.error()).c_str());
  }

  // As another process would begin.
  {
    const auto loaded = virtine::load_snapshot<sieve>(file);
    if (!loaded) std::printf("%s\n", virtine::to_string(loaded.error()).c_str());
    call("loaded");
  }

  // What is not exactly what was saved is refused; the first call then prepares as before.
  std::filesystem::resize_file(file, 1000);
  const auto damaged = virtine::load_snapshot<sieve>(file);
  std::printf("%s\n", damaged ? "loaded!" : virtine::to_string(damaged.error()).c_str());
  std::filesystem::remove(file);
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const virtine::failure& why) {
    std::printf("%s\n", why.what());
    return why.error().code == virtine::errc::no_kvm ? 77 : 1;
  }
}

// Output:
// prepared here: 65521 is prime, 65523 is not prime
// lookups before this call: 0
// two keys are different
// loaded: 65521 is prime, 65523 is not prime
// lookups before this call: 0
// two keys are different
// snapshot_refused: ...: the snapshot file is truncated
