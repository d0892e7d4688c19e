// Values as bytes and back: encode() lets no byte of the host slip out in padding, decode() lets no
// value in that its type does not have. Knows nothing of where the bytes lie.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include <virtine/bytes.hpp>
#include <virtine/checks.hpp>

namespace virtine::detail {

#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define VIRTINE_DETAIL_CLEAR_PADDING 1
#endif
#endif

/// Says whether copying a T byte by byte could copy padding.
template <class T>
inline constexpr bool may_have_padding = !std::has_unique_object_representations_v<T> &&
                                         !std::is_same_v<T, float> && !std::is_same_v<T, double>;

/// Writes the bytes of `value` to `to`, padding as zeros: what a padding byte holds is whatever was
/// on the caller's stack or heap before, and no business of a guest.
template <class T>
void encode(std::byte* to, const T& value) {
  if constexpr (!may_have_padding<T>) {
    std::memcpy(to, &value, sizeof(T));
  } else {
#ifdef VIRTINE_DETAIL_CLEAR_PADDING
    alignas(T) std::byte copy[sizeof(T)];
    std::memcpy(copy, &value, sizeof(T));
    // Sound: T is trivially copyable, so the memcpy began the lifetime of a T in `copy`.
    __builtin_clear_padding(reinterpret_cast<T*>(copy));
    std::memcpy(to, copy, sizeof(T));
#else
    static_assert(value_byte<T, 0>,
                  "virtine [V109]: this compiler cannot tell where the padding of a type is. Make "
                  "its default constructor constexpr, or give its padding names as members.");
    constexpr auto holds_value = []<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<bool, sizeof(T)>{value_byte<T, I>...};
    }
    (std::make_index_sequence<sizeof(T)>{});
    std::array<std::byte, sizeof(T)> copy;
    std::memcpy(copy.data(), &value, sizeof(T));
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      if (!holds_value[i]) copy[i] = std::byte{0};
    }
    std::memcpy(to, copy.data(), sizeof(T));
#endif
  }
}
#undef VIRTINE_DETAIL_CLEAR_PADDING

/// Says whether every pattern of bytes is a T, as far as is known.
template <class T>
inline constexpr bool any_bytes_are_valid =
    !std::is_same_v<T, bool> && !has_valid_reply<T> && !is_bytes<T> &&
    (!std::is_enum_v<T> || std::is_same_v<T, std::byte>);

/// Returns the T that the bytes at `from` stand for, or nullopt if they stand for none: a bool that
/// is neither 0 nor 1 or an enum of unknown number must not come to exist as such.
template <class T>
std::optional<T> decode(const std::byte* from) {
  if constexpr (std::is_same_v<T, bool>) {
    if (std::to_integer<unsigned>(*from) > 1) return std::nullopt;
    return *from == std::byte{1};
  } else if constexpr (std::is_enum_v<T> && !std::is_same_v<T, std::byte>) {
    std::underlying_type_t<T> number;
    std::memcpy(&number, from, sizeof number);
    if constexpr (has_valid_reply<T>) {
      if (valid_reply<T>::check(static_cast<T>(number))) return static_cast<T>(number);
    }
    return std::nullopt;
  } else {
    if constexpr (is_bytes<T>) {
      std::uint64_t size = 0;
      std::memcpy(&size, from, sizeof size);
      if (size > T::capacity()) return std::nullopt;
    }
    alignas(T) std::byte copy[sizeof(T)];
    std::memcpy(copy, from, sizeof(T));
    const T value = std::bit_cast<T>(copy);
    if constexpr (has_valid_reply<T>) {
      if (!valid_reply<T>::check(value)) return std::nullopt;
    }
    return value;
  }
}

}  // namespace virtine::detail
