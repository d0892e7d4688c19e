// A value or an error: std::expected<T, error> for C++20.
// SPDX-License-Identifier: MIT
#pragma once

#include <cassert>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <virtine/error.hpp>

namespace virtine {

template <class T>
class result;

namespace detail {
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;

/// Returns the result of `next(value)`, wrapped in a result.
template <class Next, class... Value>
auto transformed(Next&& next, Value&&... value) {
  using made = std::remove_cv_t<std::invoke_result_t<Next, Value...>>;
  if constexpr (std::is_void_v<made>) {
    std::forward<Next>(next)(std::forward<Value>(value)...);
    return result<made>();
  } else {
    return result<made>(std::forward<Next>(next)(std::forward<Value>(value)...));
  }
}
}  // namespace detail

/// Holds either a T or an error. Has the members of std::expected<T, error> (P0323), so that it can
/// become that one day, with two differences:
///
/// - An error converts to a result without std::unexpected.
/// - A temporary result returns its value by value. A reference into it would dangle before the
///   body of `for (int n : fn.together(jobs).value())` begins.
template <class T>
class [[nodiscard]] result {
  static_assert(!std::is_reference_v<T> && !std::is_same_v<std::remove_cv_t<T>, virtine::error>);

 public:
  using value_type = T;
  using error_type = virtine::error;

  result(T value)  // NOLINT(google-explicit*)
      noexcept(std::is_nothrow_move_constructible_v<T>)
      : has_value_(true), value_(std::move(value)) {}
  result(virtine::error why) noexcept  // NOLINT(google-explicit*)
      : has_value_(false), error_(std::move(why)) {}

  result(const result& other) requires std::is_copy_constructible_v<T>
      : has_value_(other.has_value_) {
    take(other);
  }
  result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : has_value_(other.has_value_) {
    take(std::move(other));
  }
  result& operator=(const result& other) requires std::is_copy_constructible_v<T> {
    result copy(other);
    *this = std::move(copy);
    return *this;
  }
  result& operator=(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this == &other) return *this;
    // What is assigned may be a part of the value, and end with it.
    result taken(std::move(other));
    // An error takes the value's place first: a T whose move throws leaves that behind.
    if (has_value_) {
      value_.~T();
      has_value_ = false;
      std::construct_at(&error_);
    }
    if (taken.has_value_) {
      const error_unless_value in_place(*this);
      std::construct_at(&value_, std::move(taken.value_));
      has_value_ = true;
    } else {
      error_ = std::move(taken.error_);
    }
    return *this;
  }
  ~result() {
    if (has_value_) {
      value_.~T();
    } else {
      error_.~error_type();
    }
  }

  /// Returns whether there is a value.
  [[nodiscard]] bool has_value() const noexcept { return has_value_; }
  explicit operator bool() const noexcept { return has_value(); }

  /// Returns the value. There must be one; a debug build (without NDEBUG) asserts it.
  T& operator*() & noexcept { return *get(); }
  const T& operator*() const& noexcept { return *get(); }
  T operator*() && { return std::move(*get()); }
  T* operator->() noexcept { return get(); }
  const T* operator->() const noexcept { return get(); }

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

  /// Returns the error. There must be one; a debug build asserts it.
  [[nodiscard]] const virtine::error& error() const noexcept {
    assert(!has_value());
    return error_;
  }

  /// Returns the value, or `fallback` if there is none.
  template <class U = T>
  T value_or(U&& fallback) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(fallback));
  }
  template <class U = T>
  T value_or(U&& fallback) && {
    return has_value() ? std::move(*get()) : static_cast<T>(std::forward<U>(fallback));
  }

  /// Returns the error, or `fallback` if there is none.
  [[nodiscard]] virtine::error error_or(const virtine::error& fallback) const {
    return has_value() ? fallback : error();
  }

  /// Returns `next(value)`, which is a result, or the error.
  template <class Next>
  auto and_then(Next&& next) const& {
    using made = std::remove_cvref_t<std::invoke_result_t<Next, const T&>>;
    static_assert(detail::is_result<made>, "and_then() takes a function that returns a result");
    return has_value() ? std::forward<Next>(next)(**this) : made(error());
  }
  template <class Next>
  auto and_then(Next&& next) && {
    using made = std::remove_cvref_t<std::invoke_result_t<Next, T>>;
    static_assert(detail::is_result<made>, "and_then() takes a function that returns a result");
    return has_value() ? std::forward<Next>(next)(std::move(*get())) : made(error());
  }

  /// Returns a result of `next(value)`, or the error.
  template <class Next>
  auto transform(Next&& next) const& {
    using made = decltype(detail::transformed(std::forward<Next>(next), **this));
    return has_value() ? detail::transformed(std::forward<Next>(next), **this) : made(error());
  }
  template <class Next>
  auto transform(Next&& next) && {
    using made = decltype(detail::transformed(std::forward<Next>(next), std::move(*get())));
    return has_value() ? detail::transformed(std::forward<Next>(next), std::move(*get()))
                       : made(error());
  }

  /// Returns the value, or `next(error)`, which is a result<T>.
  template <class Next>
  result or_else(Next&& next) const& {
    return has_value() ? *this : std::forward<Next>(next)(error());
  }
  template <class Next>
  result or_else(Next&& next) && {
    return has_value() ? std::move(*this) : std::forward<Next>(next)(error());
  }

 private:
  T* get() noexcept {
    assert(has_value());
    return &value_;
  }
  const T* get() const noexcept {
    assert(has_value());
    return &value_;
  }
#ifdef __cpp_exceptions
  void throw_unless_value() const {
    if (!has_value()) throw failure(error());
  }
#endif

  /// Has no error while a value is made in its place, and an empty one if that throws.
  struct error_unless_value {
    explicit error_unless_value(result& its) : owner(its) { owner.error_.~error_type(); }
    error_unless_value(const error_unless_value&) = delete;
    error_unless_value& operator=(const error_unless_value&) = delete;
    ~error_unless_value() {
      if (!owner.has_value_) std::construct_at(&owner.error_);
    }
    result& owner;
  };

  template <class Other>
  void take(Other&& other) {
    if (has_value_) {
      std::construct_at(&value_, std::forward<Other>(other).value_);
    } else {
      std::construct_at(&error_, std::forward<Other>(other).error_);
    }
  }

  bool has_value_;
  // Not std::variant, which costs each T some fifty milliseconds of compile time.
  union {
    T value_;
    virtine::error error_;
  };
};

/// Success or an error.
template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;
  using error_type = virtine::error;

  result() noexcept = default;
  result(virtine::error why) noexcept : error_(std::move(why)) {}  // NOLINT(google-explicit*)

  [[nodiscard]] bool has_value() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return has_value(); }
  void operator*() const noexcept { assert(has_value()); }
#ifdef __cpp_exceptions
  void value() const {
    if (error_) throw failure(*error_);
  }
#endif
  [[nodiscard]] const virtine::error& error() const noexcept {
    assert(!has_value());
    return *error_;
  }
  [[nodiscard]] virtine::error error_or(const virtine::error& fallback) const {
    return error_.value_or(fallback);
  }

  template <class Next>
  auto and_then(Next&& next) const {
    using made = std::remove_cvref_t<std::invoke_result_t<Next>>;
    static_assert(detail::is_result<made>, "and_then() takes a function that returns a result");
    return has_value() ? std::forward<Next>(next)() : made(error());
  }
  template <class Next>
  auto transform(Next&& next) const {
    using made = decltype(detail::transformed(std::forward<Next>(next)));
    return has_value() ? detail::transformed(std::forward<Next>(next)) : made(error());
  }
  template <class Next>
  result or_else(Next&& next) const {
    return has_value() ? *this : result(std::forward<Next>(next)(error()));
  }

 private:
  std::optional<virtine::error> error_;
};

}  // namespace virtine
