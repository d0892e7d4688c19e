// tainted<T>: a value that a guest gave, which must be checked before use.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

namespace virtine {

/// Holds a value chosen by a guest. There is no conversion to T: call verify() with a function that
/// checks the value. A view into guest memory stays valid and unchanged until the hypercall handler
/// returns; copy what you keep.
template <class T>
class tainted {
 public:
  explicit tainted(T raw) : raw_(std::move(raw)) {}

  /// Returns `verifier(value)`.
  template <class Verifier>
  auto verify(Verifier&& verifier) const {
    return std::forward<Verifier>(verifier)(raw_);
  }

  /// Returns the value unchecked. `reason` is a literal that tells a reviewer why every value is
  /// harmless here.
  template <std::size_t N>
  const T& unverified_because(const char (&reason)[N]) const {
    static_assert(N > 8,
                  "virtine [V142]: unverified_because() takes the reason why every value is "
                  "harmless, for a reviewer to check. Write at least eight characters.");
    static_cast<void>(reason);
    return raw_;
  }

 private:
  T raw_;
};

/// A verifier for texts: returns the text if it has N characters or fewer, else nullopt.
template <std::size_t N>
inline constexpr auto at_most = [](std::string_view text) -> std::optional<std::string_view> {
  if (text.size() > N) return std::nullopt;
  return text;
};

/// A verifier for numbers: returns the number if Low <= it <= High, else nullopt.
template <auto Low, auto High>
inline constexpr auto between = [](auto number) -> std::optional<decltype(number)> {
  if (std::cmp_less(number, Low) || std::cmp_greater(number, High)) return std::nullopt;
  return number;
};

}  // namespace virtine
