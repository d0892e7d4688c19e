// Passes every kind of argument and takes every kind of result.
// Run: build/examples/arguments
// SPDX-License-Identifier: MIT
#include <array>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include <guests/kinds.hpp>
#include <guests/kinds/kinds.hpp>
#include <virtine/virtine.hpp>

namespace {

using guests::kinds;

void run() {
  virtine::pool<kinds> pool;

  // Trivially copyable values go in and come out as they are.
  virtine::virtine_fn<int(int, int), kinds::add> add{pool};
  std::printf("add(2, 3) = %d\n", add(2, 3));

  virtine::virtine_fn<rectangle(rectangle), kinds::turned> turned{pool};
  const rectangle upright = turned({4, 3});
  std::printf("turned(4 x 3) = %g x %g\n", upright.width, upright.height);

  // A span of const elements is copied in. The result, a bool, is checked to be one.
  virtine::virtine_fn<bool(std::span<const int>), kinds::is_sorted> is_sorted{pool};
  constexpr std::array primes{2, 3, 5, 7};
  std::printf("is_sorted(2, 3, 5, 7) = %s\n", is_sorted(primes) ? "true" : "false");

  // So is an enum, by the valid_reply that the shared header specialises for it.
  virtine::virtine_fn<shape(rectangle), kinds::classify> classify{pool};
  std::printf("classify(2 x 2) = %s\n",
              classify({2, 2}) == shape::square ? "square" : "not a square");

  // A span of other elements is copied in and, if all went well, back out.
  virtine::virtine_fn<void(std::span<long>, std::span<const int>), kinds::add_to> add_to{pool};
  std::array<long, 4> totals{10, 20, 30, 40};
  add_to(totals, primes);
  std::printf("add_to(10, 20, 30, 40) = %ld, %ld, %ld, %ld\n", totals[0], totals[1], totals[2],
              totals[3]);

  // Texts go in as string_view and come out as bytes<N>, whose length cannot exceed N.
  virtine::virtine_fn<virtine::bytes<32>(std::string_view), kinds::upper> upper{pool};
  const virtine::bytes<32> loud = upper("copied in, copied out");
  std::printf("upper = %.*s\n", static_cast<int>(loud.size()), loud.text().data());

  // What does not fit the image's argument memory is an error, not a truncation.
  const std::vector<int> many(100'000);
  const auto refused = is_sorted.try_call(many);
  std::printf("%s\n", refused ? "accepted?" : virtine::to_string(refused.error()).c_str());
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
// add(2, 3) = 5
// turned(4 x 3) = 3 x 4
// is_sorted(2, 3, 5, 7) = true
// classify(2 x 2) = square
// add_to(10, 20, 30, 40) = 12, 23, 35, 47
// upper = COPIED IN, COPIED OUT
// arguments_too_large: the arguments need 400032 bytes, ...
