// virtine::value: an argument or a result whose type is known at run time only.
// Knows nothing of signatures and calls.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/abi/signature.hpp>

namespace virtine {

namespace detail {

/// An integer of 64 bits, signed or not: its bits, and whether it is below zero.
struct wide_integer {
  std::uint64_t bits = 0;
  bool negative = false;

  friend bool operator==(const wide_integer&, const wide_integer&) = default;
};

/// What a value can refer to as elements of a caller's: numbers and bytes, as they lie in memory.
template <class T>
concept value_element =
    !std::is_const_v<T> && (std::is_integral_v<T> || std::is_same_v<T, std::byte> ||
                            std::is_same_v<T, float> || std::is_same_v<T, double>);

/// The id of such an element, as docs/guest-abi.md has it.
template <class T>
inline constexpr id_text element_id = [] {
  id_text out;
  append_kind<T>(out);
  return out;
}();

/// Elements that are the caller's. What they are is in `id`.
struct borrowed_elements {
  std::string_view id;
  std::span<const std::byte> bytes;
  std::byte* writable = nullptr;  ///< The same bytes, if they may be written.

  friend bool operator==(const borrowed_elements& a, const borrowed_elements& b) {
    return a.id == b.id &&
           std::equal(a.bytes.begin(), a.bytes.end(), b.bytes.begin(), b.bytes.end());
  }
};

}  // namespace detail

/// What a value holds.
enum class value_kind : std::uint8_t {
  none,      ///< Nothing: the result of a function without one, an optional without a value.
  boolean,   ///< true or false.
  integer,   ///< From -2^63 to 2^64-1. Enums are integers, too.
  floating,  ///< A double.
  text,      ///< Characters.
  bytes,     ///< A struct, virtine::bytes<N>, or the elements of a span one after the other.
  list,      ///< Values: the elements of a span or array, the parts of a tuple.
  elements,  ///< Refers to numbers of the caller's.
};

/// Returns the kind in words, as messages use it.
constexpr const char* name(value_kind kind) {
  switch (kind) {
    case value_kind::none:
      return "nothing";
    case value_kind::boolean:
      return "a bool";
    case value_kind::integer:
      return "an integer";
    case value_kind::floating:
      return "a floating-point number";
    case value_kind::text:
      return "a text";
    case value_kind::bytes:
      return "bytes";
    case value_kind::list:
      return "a list";
    case value_kind::elements:
      return "a span";
  }
  return "unknown";
}

/// An argument or a result of a function whose type is known at run time only. It owns what it
/// holds, but for one that is made of a std::span: this refers to the caller's elements, as the
/// span does, and outputs are copied back to them.
///
/// Example: `dynamic_function::try_call({3, "text", true, std::span(numbers)})`
class value {
 public:
  /// Holds nothing.
  value() = default;

  template <std::same_as<bool> T>
  value(T its) : held_(its) {}  // NOLINT(google-explicit-constructor)
  template <std::integral T>
  requires(!std::same_as<T, bool>) value(T its)  // NOLINT(google-explicit-constructor)
      : held_(detail::wide_integer{static_cast<std::uint64_t>(its), is_negative(its)}) {}
  template <class T>
  requires std::is_enum_v<T> value(T its)  // NOLINT(google-explicit-constructor)
      : value(static_cast<std::underlying_type_t<T>>(its)) {}
  value(double its) : held_(its) {}                         // NOLINT(google-explicit-constructor)
  value(float its) : held_(double{its}) {}                  // NOLINT(google-explicit-constructor)
  value(std::string its) : held_(std::move(its)) {}         // NOLINT(google-explicit-constructor)
  value(std::string_view its) : held_(std::string(its)) {}  // NOLINT(google-explicit-constructor)
  value(const char* its) : held_(std::string(its)) {}       // NOLINT(google-explicit-constructor)
  value(std::vector<std::byte> its) : held_(std::move(its)) {}  // NOLINT(google-explicit*)
  value(std::vector<value> its) : held_(std::move(its)) {}      // NOLINT(google-explicit*)

  /// Refers to `its` elements, which must live until the call is over.
  template <class T, std::size_t Extent>
  // NOLINTNEXTLINE(google-explicit-constructor)
  requires detail::value_element<std::remove_const_t<T>> value(std::span<T, Extent> its)
      : held_(detail::borrowed_elements{.id = detail::element_id<std::remove_const_t<T>>.view(),
                                        .bytes = std::as_bytes(its)}) {
    if constexpr (!std::is_const_v<T>) {
      std::get_if<detail::borrowed_elements>(&held_)->writable = std::as_writable_bytes(its).data();
    }
  }

  /// Holds a copy of these bytes.
  static value bytes(std::span<const std::byte> from) {
    return std::vector<std::byte>(from.begin(), from.end());
  }
  /// Holds these values.
  static value list(std::vector<value> of) { return of; }

  [[nodiscard]] value_kind kind() const { return static_cast<value_kind>(held_.index()); }
  [[nodiscard]] bool is_none() const { return kind() == value_kind::none; }

  /// Returns what it holds as a T, without loss: a bool; an integer type, if the integer is one of
  /// its; double or float; std::string_view; std::span<const std::byte>, of a text, too;
  /// std::span<const value>. Nothing if it holds something else. Views are into this.
  template <class T>
  [[nodiscard]] std::optional<T> as() const {
    if constexpr (std::is_same_v<T, bool>) {
      return copied<bool>();
    } else if constexpr (std::is_integral_v<T>) {
      const auto* const found = std::get_if<detail::wide_integer>(&held_);
      if (found == nullptr) return std::nullopt;
      return narrowed<T>(*found);
    } else if constexpr (std::is_floating_point_v<T>) {
      const auto* const found = std::get_if<double>(&held_);
      return found != nullptr ? std::optional<T>(static_cast<T>(*found)) : std::nullopt;
    } else if constexpr (std::is_same_v<T, std::string_view>) {
      const auto* const found = std::get_if<std::string>(&held_);
      return found != nullptr ? std::optional<T>(*found) : std::nullopt;
    } else if constexpr (std::is_same_v<T, std::span<const std::byte>>) {
      return raw();
    } else {
      static_assert(std::is_same_v<T, std::span<const value>>, "a value is never of this type");
      const auto* const found = std::get_if<std::vector<value>>(&held_);
      return found != nullptr ? std::optional<T>(*found) : std::nullopt;
    }
  }

  friend bool operator==(const value&, const value&) = default;

  // Of what encodes and decodes values.
  using held_type =
      std::variant<std::monostate, bool, detail::wide_integer, double, std::string,
                   std::vector<std::byte>, std::vector<value>, detail::borrowed_elements>;
  [[nodiscard]] const held_type& held() const { return held_; }
  [[nodiscard]] held_type& held() { return held_; }

 private:
  template <class T>
  [[nodiscard]] std::optional<T> copied() const {
    const auto* const found = std::get_if<T>(&held_);
    return found != nullptr ? std::optional<T>(*found) : std::nullopt;
  }
  template <class T>
  static constexpr bool is_negative(T number) {
    if constexpr (std::is_signed_v<T>) return number < 0;
    return false;
  }
  template <class T>
  static std::optional<T> narrowed(detail::wide_integer from) {
    // The same number comes back, with the same sign, of a type that has it.
    const T number = static_cast<T>(from.bits);
    if (static_cast<std::uint64_t>(number) != from.bits || is_negative(number) != from.negative) {
      return std::nullopt;
    }
    return number;
  }
  [[nodiscard]] std::optional<std::span<const std::byte>> raw() const {
    if (const auto* const text = std::get_if<std::string>(&held_)) {
      return std::as_bytes(std::span(*text));
    }
    if (const auto* const bytes = std::get_if<std::vector<std::byte>>(&held_)) {
      return std::span<const std::byte>(*bytes);
    }
    if (const auto* const elements = std::get_if<detail::borrowed_elements>(&held_)) {
      return elements->bytes;
    }
    return std::nullopt;
  }

  held_type held_;
};

}  // namespace virtine
