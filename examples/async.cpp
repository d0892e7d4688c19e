// Calls that run on the threads of a pool while this one waits in an event loop, and one that is
// given up.
// Run: build/examples/async
// SPDX-License-Identifier: MIT
#include <poll.h>

#include <cstddef>
#include <cstdio>
#include <vector>

#include <guests/square.hpp>
#include <guests/trouble.hpp>
#include <guests/trouble/trouble.hpp>
#include <virtine/virtine.hpp>

namespace {

void run() {
  virtine::pool<guests::square> pool{{.workers = 2}};
  virtine::virtine_fn<int(int), guests::square> square{pool};

  // All are under way at once, two at a time; each has a descriptor that tells when it is done.
  std::vector<virtine::pending<int>> calls;
  for (int n : {3, 4, 5}) calls.push_back(square.async(n));
  std::vector<pollfd> waited_for;
  for (auto& call : calls) waited_for.push_back({call.event_fd().value(), POLLIN, 0});

  for (std::size_t left = calls.size(); left > 0;) {
    poll(waited_for.data(), waited_for.size(), -1);
    for (pollfd& each : waited_for) {
      if (each.revents == 0) continue;
      each.fd = -1;  // poll passes over it from here on.
      --left;
    }
  }
  for (auto& call : calls) std::printf("square: %d\n", call.get());

  auto policy = virtine::policy{virtine::allow<knock>([] {})};
  virtine::virtine_fn<void(), guests::trouble::spin, decltype(policy)> spin{policy};
  auto endless = spin.async();
  endless.cancel();
  std::printf("spin: %s\n", virtine::to_string(endless.try_get().error()).c_str());
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
// square: 9
// square: 16
// square: 25
// spin: cancelled: the call was asked to stop
