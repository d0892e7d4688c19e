// A value or an error: the part of std::expected<T, error> that this library uses, for C++20.
// Knows nothing but error.hpp.
// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include <virtine/error.hpp>

namespace virtine {

/// Holds either a T or an error. Named as in std::expected (P0323), whose subset it follows, but
/// that a result which is a temporary gives its value away by value: what a reference into it is
/// bound to would be gone before the body of `for (int n : fn.together(jobs).value())` begins.
template <class T>
class [[nodiscard]] result {
  static_assert(!std::is_reference_v<T> && !std::is_same_v<std::remove_cv_t<T>, error>);

 public:
  using value_type = T;

  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit*)
  result(const error& why) : state_(std::in_place_index<1>, why) {}      // NOLINT(google-explicit*)

  /// Returns whether there is a value.
  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// Returns the value. Undefined unless has_value().
  T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  T operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

#ifdef __cpp_exceptions
  /// Returns the value, or throws failure.
  T& value() & {
    return throw_unless_value(), **this;
  }
  const T& value() const& {
    return throw_unless_value(), **this;
  }
  T value() && {
    return throw_unless_value(), std::move(**this);
  }
#endif

  /// Returns the error. Undefined if has_value().
  [[nodiscard]] const error& why() const noexcept {
    return *std::get_if<1>(&state_);
  }

  /// Returns the value, or `fallback` if there is none.
  T value_or(T fallback) const& {
    return has_value() ? **this : std::move(fallback);
  }

 private:
#ifdef __cpp_exceptions
  void throw_unless_value() const {
    if (!has_value()) throw failure(why());
  }
#endif

  std::variant<T, error> state_;
};

/// Success or an error.
template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;

  result() noexcept = default;
  result(const error& why) noexcept : why_(why) {}  // NOLINT(google-explicit*)

  [[nodiscard]] bool has_value() const noexcept { return !why_; }
  explicit operator bool() const noexcept { return has_value(); }
#ifdef __cpp_exceptions
  void value() const {
    if (why_) throw failure(*why_);
  }
#endif
  [[nodiscard]] const error& why() const noexcept {
    return *why_;
  }

 private:
  std::optional<error> why_;
};

}  // namespace virtine
