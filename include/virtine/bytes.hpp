// bytes<N>: a result of up to N bytes, returned by value from a guest.
// Freestanding: shared by hosts and guests.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace virtine {

/// Holds up to N bytes by value. The length a guest gives is checked before a host sees it.
template <std::size_t N>
class bytes {
 public:
  constexpr bytes() = default;

  /// Holds the characters of a literal, which must fit: `bytes<8>("hello")`.
  template <std::size_t Size>
  constexpr explicit bytes(const char (&literal)[Size]) {
    static_assert(Size - 1 <= N,
                  "virtine [V131]: a literal is longer than the virtine::bytes<N> that it is put "
                  "into. Use a larger N.");
    append_first({literal, Size - 1});
  }
  /// A buffer may be filled in part: say how much with from() or truncated().
  template <std::size_t Size>
  bytes(char (&buffer)[Size]) = delete;

  /// Returns all of `text`, or nullopt if it has more than N bytes.
  static constexpr std::optional<bytes> from(std::string_view text) {
    if (text.size() > N) return std::nullopt;
    return truncated(text);
  }

  /// Returns the first N bytes of `text`, or all if there are fewer.
  static constexpr bytes truncated(std::string_view text) {
    bytes out;
    out.append_first(text);
    return out;
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

  /// Compares what they hold.
  friend bool operator==(const bytes& a, const bytes& b) { return a.text() == b.text(); }

 private:
  constexpr void append_first(std::string_view text) {
    for (char c : text) {
      if (!append(static_cast<std::byte>(c))) break;
    }
  }

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
