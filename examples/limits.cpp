// Stops calls that run too long or ask too much, and reports the faults of those that go wrong.
// Run: build/examples/limits
// SPDX-License-Identifier: MIT
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stop_token>
#include <thread>

#include <guests/trouble.hpp>
#include <guests/trouble/trouble.hpp>
#include <virtine/virtine.hpp>

namespace {

using namespace std::chrono_literals;
using guests::trouble;

template <class T>
void report(const char* what, const virtine::result<T>& outcome) {
  std::printf("%-18s %s\n", what, outcome ? "ended?" : virtine::to_string(outcome.error()).c_str());
}

void run() {
  auto policy = virtine::policy{virtine::allow<knock>([] {})};
  using policy_type = decltype(policy);
  virtine::pool<trouble> pool;

  // A deadline; ten seconds unless said otherwise.
  virtine::virtine_fn<void(), trouble::spin, policy_type> spin{pool, policy};
  report("spin, 20 ms", spin.with({.timeout = 20ms}).try_call());

  // A request from another thread.
  std::stop_source source;
  std::jthread impatient([&] {
    std::this_thread::sleep_for(20ms);
    source.request_stop();
  });
  report("spin, stopped", spin.with({.stop = source.get_token()}).try_call());

  virtine::virtine_fn<void(), trouble::flood, policy_type> flood{pool, policy};
  report("flood, 100 calls", flood.with({.hypercalls = 100}).try_call());

  // Faults say what happened, where, and in which function.
  virtine::virtine_fn<int(std::uint64_t), trouble::peek, policy_type> peek{pool, policy};
  report("peek(0)", peek.try_call(0));
  report("peek(0x700000000)", peek.try_call(0x7'0000'0000));

  // The guest's own code, which starts there.
  virtine::virtine_fn<void(std::uint64_t, int), trouble::poke, policy_type> poke{pool, policy};
  report("poke(0x20000)", poke.try_call(0x20000, 1));

  virtine::virtine_fn<int(int, int), trouble::divide, policy_type> divide{pool, policy};
  report("divide(1, 0)", divide.try_call(1, 0));

  virtine::virtine_fn<int(), trouble::recurse, policy_type> recurse{pool, policy};
  report("recurse()", recurse.try_call());

  // Each took its machine with it and nothing else: the same pool goes on.
  std::printf("divide(6, 3) = %d\n", divide(6, 3));
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
// spin, 20 ms        timed_out: the call was not done at its deadline (call_options::timeout)
// spin, stopped      cancelled: the call was asked to stop
// flood, 100 calls   hypercall_limit: the guest made more than 100 hypercalls (...)
// peek(0)            guest_fault: null pointer access reading 0x0 at 0x... in ...peek+0x...
// peek(0x700000000)  guest_fault: access to unmapped memory reading 0x700000000 at 0x... in ...
// poke(0x20000)      guest_fault: access to protected memory writing 0x20000 at 0x... in ...
// divide(1, 0)       guest_fault: divide error at 0x... in ...divide+0x...
// recurse()          guest_fault: stack overflow writing 0x... at 0x... in ...
// divide(6, 3) = 2
