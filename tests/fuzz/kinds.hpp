// A type of each kind that a guest can give, and what is said of it elsewhere: which bytes are one,
// written once more and as plainly as can be.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>

#include <virtine/abi/frame.hpp>
#include <virtine/abi/object_bytes.hpp>
#include <virtine/bytes.hpp>
#include <virtine/valid_reply.hpp>

#include "../checked_enums.hpp"

struct gaps {
  char kind = 0;
  std::int32_t number = 0;
};
struct flagged {
  std::uint16_t number = 0;
  bool flag = false;
  std::uint8_t more = 0;
};
struct even {
  std::uint32_t number = 0;
};
union either {
  std::uint32_t number;
  float fraction;
};
using text13 = virtine::bytes<13>;

template <>
struct virtine::valid_reply<even> {
  static constexpr bool check(even value) { return value.number % 2 == 0; }
};
template <>
inline constexpr bool virtine::holds_no_pointer<either> = true;
template <>
struct virtine::valid_reply<either> {
  static constexpr bool check(std::span<const std::byte, sizeof(either)> bytes) {
    return bytes[0] != std::byte{0xee};
  }
};

/// Says whether the bytes at `at`, in a frame, are a value of the type.
template <class T>
struct is_one {
  static bool in(const std::byte*) { return true; }
};
template <class T>
bool are(const std::byte* at) {
  return is_one<std::remove_const_t<T>>::in(at);
}

template <>
inline bool is_one<bool>::in(const std::byte* at) {
  return *at <= std::byte{1};
}
template <>
inline bool is_one<verdict>::in(const std::byte* at) {
  return *at <= std::byte{1};
}
template <>
inline bool is_one<colour>::in(const std::byte* at) {
  return *at == std::byte{1} || *at == std::byte{2};
}
template <>
inline bool is_one<flagged>::in(const std::byte* at) {
  return at[2] <= std::byte{1};
}
template <>
inline bool is_one<even>::in(const std::byte* at) {
  return (*at & std::byte{1}) == std::byte{0};
}
template <>
inline bool is_one<either>::in(const std::byte* at) {
  return *at != std::byte{0xee};
}
template <std::size_t N>
struct is_one<virtine::bytes<N>> {
  static bool in(const std::byte* at) {
    for (std::size_t i = 1; i < 8; ++i) {
      if (at[i] != std::byte{0}) return false;
    }
    return at[0] <= std::byte{N};
  }
};
template <class T, std::size_t N>
struct is_one<std::array<T, N>> {
  static bool in(const std::byte* at) {
    bool all = true;
    for (std::size_t i = 0; i < N; ++i)
      all = all && are<T>(at + i * virtine::detail::wire<T>::size);
    return all;
  }
};
template <class... T>
struct is_one<std::tuple<T...>> {
  static bool in([[maybe_unused]] const std::byte* at) {
    [[maybe_unused]] std::size_t i = 0;
    return (are<T>(at + virtine::detail::wire<std::tuple<T...>>::offsets[i++]) && ...);
  }
};
template <class A, class B>
struct is_one<std::pair<A, B>> : is_one<std::tuple<A, B>> {};
template <class T>
struct is_one<std::optional<T>> {
  static bool in(const std::byte* at) {
    if (*at == std::byte{0}) return true;
    return *at == std::byte{1} && are<T>(at + virtine::detail::wire<T>::alignment);
  }
};
template <class... T>
struct is_one<std::variant<T...>> {
  static bool in(const std::byte* at) {
    constexpr std::size_t value_at = std::max({virtine::detail::wire<T>::alignment...});
    std::size_t i = 0;
    return ((*at == static_cast<std::byte>(i++) && are<T>(at + value_at)) || ...);
  }
};

/// Returns the bytes by which a host passes the value.
template <class T>
auto bytes_of(const T& value) {
  std::array<std::byte, virtine::detail::wire<T>::size> out;
  virtine::detail::encode(out.data(), value);
  return out;
}
