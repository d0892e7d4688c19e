// One system call while it is served: who asks, what for, and the answers that there are.
// Knows nothing of any particular call.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <virtine/abi/little_endian.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/machine/system_call.hpp>
#include <virtine/posix/rights.hpp>

namespace virtine::posix::detail {

using answer = virtine::detail::system_call_answer;

/// Answers with a result, under `grant`.
inline answer success(std::size_t grant, std::int64_t value) {
  return {.value = value, .grant = grant};
}
/// Answers that the call failed.
inline answer failure(std::size_t grant, int number) {
  return {.value = -std::int64_t{number}, .grant = grant};
}
/// Answers that the grant does not go so far.
inline answer refused(std::size_t grant, int number) {
  return {.value = -std::int64_t{number}, .refused = true, .grant = grant};
}
/// Answers with what a system call of the host's returned, and errno if that is -1.
inline answer from_syscall(std::size_t grant, std::int64_t value) {
  return value < 0 ? failure(grant, errno) : success(grant, value);
}
/// Answers the same to everybody, with nothing of the host's.
inline answer constant(std::int64_t value) {
  return {.value = value};
}

inline constexpr answer not_granted{.denied = true};

/// A system call of a guest, with what serving it needs.
struct request {
  const granted_rights& granted;
  call_state& open;
  virtine::detail::guest_access& guest;
  const std::array<std::uint64_t, 6>& arguments;

  /// Returns argument `i` as an int, as Linux takes most of them.
  [[nodiscard]] int number(std::size_t i) const {
    return static_cast<int>(static_cast<std::uint32_t>(arguments[i]));
  }
  [[nodiscard]] guest_address address(std::size_t i) const { return guest_address{arguments[i]}; }

  /// Copies bytes to the guest. Returns 0 or an errno.
  [[nodiscard]] int give(guest_address to, std::span<const std::byte> bytes) const {
    return guest.write(to, bytes) ? 0 : EFAULT;
  }

  /// Copies the text at argument `i` that ends with a zero byte. Returns 0 or an errno.
  [[nodiscard]] int take_text(std::size_t i, std::string& out) const {
    constexpr std::uint64_t piece = 4096;
    // Page by page, because what follows the text need not be memory.
    for (std::uint64_t at = arguments[i]; out.size() < max_path_bytes;) {
      const std::uint64_t length = piece - at % piece;
      const auto bytes = guest.read(guest_address{at}, length);
      if (!bytes) return EFAULT;
      const auto end = std::find(bytes->begin(), bytes->end(), std::byte{0});
      // Sound: bytes are characters.
      out.append(reinterpret_cast<const char*>(bytes->data()),
                 static_cast<std::size_t>(end - bytes->begin()));
      if (end != bytes->end()) return out.size() < max_path_bytes ? 0 : ENAMETOOLONG;
      if (at > UINT64_MAX - length) return EFAULT;
      at += length;
    }
    return ENAMETOOLONG;
  }
};

/// A structure of Linux's, built field by field, so that nothing of the host is in its padding.
template <std::size_t Size>
struct structure {
  std::array<std::byte, Size> bytes{};

  template <class T>
  structure& put(std::size_t at, T value) {
    x86::store(bytes, at, value);
    return *this;
  }
};

}  // namespace virtine::posix::detail
