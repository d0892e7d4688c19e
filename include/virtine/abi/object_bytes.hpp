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
#include <span>
#include <type_traits>
#include <utility>

#include <virtine/abi/checks.hpp>
#include <virtine/abi/composite.hpp>
#include <virtine/bytes.hpp>

namespace virtine::detail {

#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define VIRTINE_DETAIL_CLEAR_PADDING 1
#endif
#endif

/// Says whether copying a T byte by byte could copy padding.
template <class T>
inline constexpr bool may_have_padding =
    !std::has_unique_object_representations_v<T> && !std::is_same_v<T, float> &&
    !std::is_same_v<T, double> && !is_complex<T>;

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

/// Writes the bytes of `value` to `to`, padding as zeros: what a padding byte holds is whatever was
/// on the caller's stack or heap before, and no business of a guest.
template <class T>
void encode(std::byte* to, const T& value) {
  if constexpr (is_composite<T>) {
    put(to, value, []<class Part>(std::byte* at, const Part& part) { encode(at, part); });
  } else if constexpr (!may_have_padding<T>) {
    std::memcpy(to, &value, sizeof(T));
  } else {
#ifdef VIRTINE_DETAIL_CLEAR_PADDING
    alignas(T) std::byte copy[sizeof(T)];
    std::memcpy(copy, &value, sizeof(T));
    // Sound: T is trivially copyable, so the memcpy began the lifetime of a T in `copy`.
    __builtin_clear_padding(reinterpret_cast<T*>(copy));
    std::memcpy(to, copy, sizeof(T));
#else
    static_assert(
        made_of_bytes<T>,
        "virtine [V109]: this compiler cannot tell where the padding of a type is that has "
        "a union, a bit-field or a vector in it. Give its padding names as members.");
    // A byte of padding made of bytes before the program runs is not a constant again.
    constexpr auto holds_value = []<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<bool, sizeof(T)>{comes_back<T, I, I + 1, 0>...};
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
  // What is not made of bytes has a check of its own (V130).
  if constexpr (std::is_class_v<T> && !is_bytes<T> && made_of_bytes<T>) {
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
  if (is_bool<T>()) return true;
  for (const bool marked : bool_bytes<T>) {
    if (marked) return true;
  }
  return false;
}

/// Says whether every pattern of bytes is a T.
template <class T>
constexpr bool any_bytes_are_valid() {
  if constexpr (is_composite<T>) {
    return false;
  } else if constexpr (is_array_object<T>) {
    return any_bytes_are_valid<typename T::value_type>();
  } else {
    return !holds_bool<T>() && !has_valid_reply<T> && !is_bytes<T> && !is_opaque<T>() &&
           !has_enum_member<T>() && (!std::is_enum_v<T> || std::is_same_v<T, std::byte>);
  }
}

template <class T>
bool is_value(const std::byte* from);

/// Returns whether the parts at `from` are those of a product.
template <class... T>
bool are_parts([[maybe_unused]] const std::byte* from, [[maybe_unused]] product<T...> shape) {
  [[maybe_unused]] std::size_t index = 0;
  return (is_value<T>(from + shape.offsets[index++]) && ...);
}
/// Returns whether there is one of the alternatives of a sum at `from`.
template <class... T>
bool are_parts(const std::byte* from, sum<T...> shape) {
  std::size_t index = 0;
  return ((std::to_integer<std::size_t>(from[0]) == index++ &&
           is_value<T>(from + shape.value_offset)) ||
          ...);
}

/// Returns whether the bytes at `from` are a T: not if there is a bool in them that is neither 0
/// nor 1, an enum of unknown number, or what valid_reply refuses. Such a value must not come to
/// exist; to look at it would be undefined behaviour.
template <class T>
bool is_value(const std::byte* from) {
  if constexpr (any_bytes_are_valid<T>()) {
    return true;
  } else if constexpr (is_array_object<T>) {
    using element = std::remove_const_t<typename T::value_type>;
    for (std::size_t i = 0; i < std::tuple_size_v<T>; ++i) {
      if (!is_value<element>(from + i * wire<element>::size)) return false;
    }
    return true;
  } else if constexpr (is_composite<T>) {
    if (!are_parts(from, typename composition<T>::type{})) return false;
    if constexpr (has_valid_reply<T>) return valid_reply<T>::check(take<T>(from));
    return true;
  } else if constexpr (has_byte_check<T>) {
    return valid_reply<T>::check(std::span<const std::byte, sizeof(T)>(from, sizeof(T)));
  } else {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const bool checked = is_bool<T>() || bool_bytes<T>[i];
      if (checked && std::to_integer<unsigned>(from[i]) > 1) return false;
    }
    if constexpr (is_bytes<T>) {
      std::uint64_t size = 0;
      std::memcpy(&size, from, sizeof size);
      if (size > T::capacity()) return false;
    }
    if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number;
      std::memcpy(&number, from, sizeof number);
      if constexpr (has_valid_reply<T>) {
        return valid_reply<T>::check(static_cast<T>(number));
      } else {
        return false;
      }
    } else if constexpr (has_valid_reply<T>) {
      alignas(T) std::byte copy[sizeof(T)];
      std::memcpy(copy, from, sizeof(T));
      return valid_reply<T>::check(std::bit_cast<T>(copy));
    } else {
      return true;
    }
  }
}

/// Returns the T that the bytes at `from` stand for, or nullopt if they stand for none.
template <class T>
std::optional<T> decode(const std::byte* from) {
  if (!is_value<T>(from)) return std::nullopt;
  return std::optional<T>(std::in_place, take<T>(from));
}

}  // namespace virtine::detail
