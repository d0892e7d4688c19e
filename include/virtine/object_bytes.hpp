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

/// Says whether bytes that are Fill in [Begin, End) and zero elsewhere come back unchanged in that
/// range from a T; never, if a compiler cannot make a T of bytes before the program runs.
template <class T, std::size_t Begin, std::size_t End, unsigned char Fill>
constexpr bool come_back() {
  using bytes_of_t = std::array<std::byte, sizeof(T)>;
  bytes_of_t given{};
  for (std::size_t i = Begin; i < End; ++i) given[i] = std::byte{Fill};
  const auto returned = std::bit_cast<bytes_of_t>(std::bit_cast<T>(given));
  for (std::size_t i = Begin; i < End; ++i) {
    if (returned[i] != given[i]) return false;
  }
  return true;
}
template <class T, std::size_t Begin, std::size_t End, unsigned char Fill>
concept comes_back = requires {
  typename std::enable_if_t<come_back<T, Begin, End, Fill>()>;
};

template <class T>
inline constexpr bool is_array_object = false;
template <class T, std::size_t N>
inline constexpr bool is_array_object<std::array<T, N>> = N != 0;

/// The largest class in which bools are looked for byte by byte.
inline constexpr std::size_t bool_search_limit = 1024;

/// Marks the bytes of [Begin, End) that are bools: 1 comes back from them, 2 does not.
template <class T, std::size_t Begin, std::size_t End>
constexpr void mark_bools(std::array<bool, sizeof(T)>& marks) {
  if constexpr (!comes_back<T, Begin, End, 2>) {
    if constexpr (End - Begin == 1) {
      marks[Begin] = comes_back<T, Begin, End, 1>;
    } else {
      constexpr std::size_t middle = Begin + (End - Begin) / 2;
      mark_bools<T, Begin, middle>(marks);
      mark_bools<T, middle, End>(marks);
    }
  }
}

template <class T>
constexpr std::array<bool, sizeof(T)> find_bools() {
  std::array<bool, sizeof(T)> marks{};
  // No bytes come back from a union, nor from a bit-field with some compilers; holds_no_pointer
  // leaves those to who set it.
  if constexpr (std::is_class_v<T> && !is_bytes<T> && comes_back<T, 0, 0, 0>) {
    static_assert(
        sizeof(T) <= bool_search_limit || comes_back<T, 0, sizeof(T), 2> || has_valid_reply<T>,
        "virtine [V114]: a guest can give this class to the host, and it is too large to be "
        "searched for bools, which a guest could make neither true nor false. Return a "
        "std::array of a smaller class, or specialise virtine::valid_reply<T>.");
    if constexpr (sizeof(T) <= bool_search_limit) mark_bools<T, 0, sizeof(T)>(marks);
  }
  return marks;
}

/// Which bytes of a T are bools.
template <class T>
inline constexpr std::array<bool, sizeof(T)> bool_bytes = find_bools<T>();

/// Says whether a T is a bool, or an enum whose numbers are bools.
template <class T>
constexpr bool is_bool() {
  if constexpr (std::is_enum_v<T>) {
    return std::is_same_v<std::underlying_type_t<T>, bool>;
  } else {
    return std::is_same_v<T, bool>;
  }
}

template <class T>
constexpr bool holds_bool() {
  if constexpr (is_array_object<T>) {
    return holds_bool<typename T::value_type>();
  } else {
    if (is_bool<T>()) return true;
    for (const bool marked : bool_bytes<T>) {
      if (marked) return true;
    }
    return false;
  }
}

/// Returns whether each bool in the T at `from`, however deep, is 0 or 1. Another value would be
/// undefined behaviour to look at.
template <class T>
bool bools_are_valid(const std::byte* from) {
  if constexpr (!holds_bool<T>()) {
    return true;
  } else if constexpr (is_array_object<T>) {
    using element = typename T::value_type;
    for (std::size_t at = 0; at < sizeof(T); at += sizeof(element)) {
      if (!bools_are_valid<element>(from + at)) return false;
    }
    return true;
  } else {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const bool checked = is_bool<T>() || bool_bytes<T>[i];
      if (checked && std::to_integer<unsigned>(from[i]) > 1) return false;
    }
    return true;
  }
}

/// Says whether every pattern of bytes is a T. An enum inside a class counts as the integer that it
/// is.
template <class T>
inline constexpr bool any_bytes_are_valid =
    !holds_bool<T>() && !has_valid_reply<T> && !is_bytes<T> &&
    (!std::is_enum_v<T> || std::is_same_v<T, std::byte>);

/// Returns the T that the bytes at `from` stand for, or nullopt if they stand for none: a bool that
/// is neither 0 nor 1, in a class too, or an enum of unknown number must not come to exist as such.
template <class T>
std::optional<T> decode(const std::byte* from) {
  if (!bools_are_valid<T>(from)) return std::nullopt;
  if constexpr (std::is_enum_v<T> && !std::is_same_v<T, std::byte>) {
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
