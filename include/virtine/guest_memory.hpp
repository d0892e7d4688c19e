// Guest addresses and bounds-checked views of guest memory. Must remain the only place where an
// address or a length that a guest may have chosen is compared with what exists.
// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include <virtine/result.hpp>

namespace virtine {

/// An address in a guest's memory. Means nothing in the host.
enum class guest_address : std::uint64_t {};

/// Returns the address as a number.
constexpr std::uint64_t to_number(guest_address address) {
  return static_cast<std::uint64_t>(address);
}

/// A bounds-checked view of a contiguous range of guest memory. Does not own it.
class guest_memory {
 public:
  guest_memory() = default;
  guest_memory(guest_address begin, std::span<std::byte> bytes) : begin_(begin), bytes_(bytes) {}

  [[nodiscard]] guest_address begin() const { return begin_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

  /// Returns the bytes [address, address + length). Fails with errc::out_of_range unless all lie
  /// inside.
  [[nodiscard]] result<std::span<std::byte>> view(guest_address address,
                                                  std::uint64_t length) const {
    const std::uint64_t at = to_number(address) - to_number(begin_);
    // Compared without an addition: a guest that passes a length near 2^64 would wrap one, and the
    // host would read or write memory of its own.
    if (to_number(address) < to_number(begin_) || length > bytes_.size() ||
        at > bytes_.size() - length) {
      return error{.code = errc::out_of_range,
                   .operation = "guest memory access",
                   .detail = to_number(address)};
    }
    return bytes_.subspan(at, length);
  }

  /// Returns a copy of the T at `address`.
  template <class T>
  requires std::is_trivially_copyable_v<T>
  [[nodiscard]] result<T> read(guest_address address) const {
    auto from = view(address, sizeof(T));
    if (!from) return from.error();
    T value;
    std::memcpy(&value, from->data(), sizeof(T));
    return value;
  }

  /// Copies `from` to `address`.
  [[nodiscard]] result<void> write(guest_address address, std::span<const std::byte> from) const {
    auto to = view(address, from.size());
    if (!to) return to.error();
    if (!from.empty()) std::memcpy(to->data(), from.data(), from.size());
    return {};
  }

 private:
  guest_address begin_{};
  std::span<std::byte> bytes_;
};

}  // namespace virtine
