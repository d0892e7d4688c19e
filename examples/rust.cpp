// Calls functions written in Rust, which ask their host for exchange rates.
// Run: build/examples/rust
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdio>
#include <string_view>

#include <guests/ledger.hpp>
#include <virtine/virtine.hpp>

namespace {

using guests::ledger;

// As the guest declares them.
struct rate : virtine::hypercall<1, double(std::string_view)> {};
struct totals {
  double credit = 0;
  double debit = 0;
  std::uint64_t skipped = 0;
};

constexpr std::string_view sent =
    "EUR 100\n"
    "USD -20.5\n"
    "gold, lots of it\n"
    "EUR 4.25e1\n";

void run() {
  auto policy =
      virtine::policy{virtine::allow<rate>([](virtine::tainted<std::string_view> currency) {
        return currency.verify([](std::string_view name) {
          return name == "EUR" ? 1.0 : name == "USD" ? 0.5 : 0.0;
        });
      })};
  virtine::pool<ledger> pool;

  // The types must say what the Rust function's say, or this does not compile.
  virtine::virtine_fn<totals(std::string_view), ledger::totals, decltype(policy)> add_up{pool,
                                                                                         policy};
  const totals sums = add_up(sent);
  std::printf("credit %.2f, debit %.2f, %d skipped\n", sums.credit, sums.debit,
              static_cast<int>(sums.skipped));

  // A panic ends the call, and the machine with it.
  virtine::virtine_fn<std::uint64_t(std::string_view, std::uint64_t), ledger::line_length,
                      decltype(policy)>
      line_length{pool, policy};
  std::printf("line 1 has %d characters\n", static_cast<int>(line_length(sent, 1)));
  const auto panicked = line_length.try_call(sent, 99);
  std::printf("line 99: %s\n", panicked ? "?" : virtine::to_string(panicked.error()).c_str());
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
// credit 142.50, debit 10.25, 1 skipped
// line 1 has 9 characters
// line 99: guest_fault: panic at 0x... in line_length+0x...
