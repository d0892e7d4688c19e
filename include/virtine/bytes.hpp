// bytes<N>: a result of up to N bytes, returned by value from a guest.
// Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace virtine {

/// Holds up to N bytes by value. The length a guest gives is checked before a host sees it.
template <std::size_t N>
class bytes {
 public:
  constexpr bytes() = default;

  /// Copies at most N bytes of `from`; what does not fit is cut off.
  constexpr explicit bytes(std::string_view from) {
    for (char c : from) {
      if (!append(static_cast<std::byte>(c))) break;
    }
  }

  /// Appends one byte; returns false, and changes nothing, if it is full.
  constexpr bool append(std::byte value) {
    if (size_ >= N) return false;
    data_[size_++] = value;
    return true;
  }

  static constexpr std::size_t capacity() { return N; }
  /// Returns how many bytes it holds: N at most, whatever a guest wrote.
  [[nodiscard]] constexpr std::size_t size() const {
    return size_ < N ? static_cast<std::size_t>(size_) : N;
  }
  [[nodiscard]] constexpr std::span<const std::byte> span() const { return {data_, size()}; }

  /// Returns the content as characters.
  [[nodiscard]] std::string_view text() const {
    // Sound: char may alias any object.
    return {reinterpret_cast<const char*>(data_), size()};
  }

 private:
  std::uint64_t size_ = 0;
  std::byte data_[N]{};
};

namespace detail {
template <class T>
inline constexpr bool is_bytes = false;
template <std::size_t N>
inline constexpr bool is_bytes<bytes<N>> = true;
}  // namespace detail

}  // namespace virtine
