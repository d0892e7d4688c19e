// allow_entropy(): grants guests random bytes from the kernel.
// SPDX-License-Identifier: MIT
#pragma once

#include <sys/random.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <virtine/allow.hpp>
#include <virtine/entropy.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/system_call.hpp>

namespace virtine {

namespace detail {
/// Fills `bytes` from the kernel's generator. Returns false if the generator is not yet seeded,
/// which happens early in the host's boot. Does not wait for it, because that could take longer
/// than the call may.
inline bool fill_randomly(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    constexpr std::size_t uninterrupted = 256;  // So few at a time are never cut short.
    const ::ssize_t got =
        ::getrandom(bytes.data(), std::min(bytes.size(), uninterrupted), GRND_NONBLOCK);
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

/// Answers the hypercall `entropy`, up to `Most` bytes for each.
template <std::size_t Most>
struct random_bytes {
  answer<void> operator()(guest_buffer<std::byte> out) const {
    if (out.size() > Most) return reject{};
    std::array<std::byte, Most> bytes;
    const auto wanted = std::span(bytes).first(out.size());
    // A guest that gets less must not take the rest for random.
    if (!fill_randomly(wanted) || out.fill(wanted) != out.size()) return reject{};
    return {};
  }
};

template <std::size_t Most>
struct entropy_grant : allowed<entropy, random_bytes<Most>> {
  [[nodiscard]] static std::string describe() { return "entropy: random bytes of the kernel's"; }

  /// Answers getrandom(); nothing if it is another call.
  static std::optional<system_call_answer> answer_alone(const system_call& call,
                                                        guest_access& guest) {
    if (call.number != SYS_getrandom) return std::nullopt;
    constexpr std::uint64_t flags = 7;  // GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE
    if ((call.arguments[2] & ~flags) != 0) return system_call_answer{.value = -EINVAL};
    std::array<std::byte, 256> bytes;
    const auto wanted =
        std::span(bytes).first(std::min<std::uint64_t>(call.arguments[1], bytes.size()));
    if (!fill_randomly(wanted)) {
      // What another moment would not mend is the guest's to know.
      if (errno != EAGAIN) return system_call_answer{.value = -std::int64_t{errno}};
      return system_call_answer{.wait = std::chrono::milliseconds(10), .again = true};
    }
    if (!wanted.empty() && !guest.write(guest_address{call.arguments[0]}, wanted)) {
      return system_call_answer{.value = -EFAULT};
    }
    return system_call_answer{.value = static_cast<std::int64_t>(wanted.size())};
  }
};

}  // namespace detail

/// Grants cryptographically random bytes of the kernel (getrandom), however a guest asks for them:
/// by the hypercall `entropy`, up to `Most` for each request, or by the system call getrandom(), up
/// to 256 for each. A hypercall for more, or one that cannot be met, ends the call with
/// errc::hypercall_rejected. Every policy takes it, with POSIX grants and without.
template <std::size_t Most = 256>
auto allow_entropy() {
  return detail::entropy_grant<Most>{};
}

}  // namespace virtine
