// Lets a guest ask its host for things, and decides what becomes of what it says.
// Run: build/examples/policy
// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <guests/clerk.hpp>
#include <guests/clerk/clerk.hpp>
#include <virtine/virtine.hpp>

namespace {

const std::map<std::string_view, std::string_view> settings{
    {"colour", "green"},
    {"password", "do not tell"},
};

// A verifier turns what a guest said into something the host can use, or into nothing.
std::optional<std::string_view> public_name(std::string_view name) {
  if (name == "password" || settings.find(name) == settings.end()) return std::nullopt;
  return name;
}

void run() {
  // A policy is a list; what it does not name is denied. Without the line for log_line, this file
  // would not compile (V110), because the image is known to make that hypercall.
  auto policy = virtine::policy{
      virtine::allow<log_line>(
          [](virtine::tainted<std::string_view> line) -> virtine::answer<void> {
            const auto text = line.verify(virtine::at_most<80>);
            if (!text) return virtine::reject{};  // A longer one ends the call.
            std::printf("the guest logs: %.*s\n", static_cast<int>(text->size()), text->data());
            return {};
          }),
      virtine::allow<read_setting>(
          [](virtine::tainted<std::string_view> name,
             virtine::guest_buffer<char> value) -> virtine::answer<std::uint32_t> {
            const auto wanted = name.verify(public_name);
            if (!wanted) return virtine::reject{};
            return static_cast<std::uint32_t>(value.fill(settings.at(*wanted)));
          })};

  virtine::pool<guests::clerk> pool;
  virtine::virtine_fn<std::uint32_t(std::string_view), guests::clerk::poll_debugger,
                      decltype(policy)>
      poll_debugger{pool, policy};
  std::printf("poll_debugger(colour) = %u\n", poll_debugger("colour"));

  // A handler that rejects ends the call.
  const auto curious = poll_debugger.try_call("password");
  std::printf("%s\n", curious ? "told!" : virtine::to_string(curious.error()).c_str());

  // So does a hypercall that the policy does not name.
  virtine::virtine_fn<void(), guests::clerk::escape, decltype(policy)> escape{pool, policy};
  const auto denied = escape.try_call();
  std::printf("%s\n", denied ? "escaped!" : virtine::to_string(denied.error()).c_str());

  // The machines of those calls are gone; the next call gets another.
  std::printf("poll_debugger(colour) = %u\n", poll_debugger("colour"));
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
// the guest logs: green
// poll_debugger(colour) = 5
// hypercall_rejected: the handler rejected the hypercall
// hypercall_denied: the guest made hypercall 99, which the policy does not allow
// the guest logs: green
// poll_debugger(colour) = 5
