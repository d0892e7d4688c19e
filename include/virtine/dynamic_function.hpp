// virtine::dynamic_function: a function whose type is known at run time only, called with values.
// SPDX-License-Identifier: MIT
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/call/callable.hpp>
#include <virtine/call/caller.hpp>
#include <virtine/call/value_marshal.hpp>
#include <virtine/call_options.hpp>
#include <virtine/value.hpp>
#include <virtine/value/shape.hpp>

namespace virtine {

template <class Machine>
class basic_loaded_image;

namespace detail {

/// The calls of what takes a span of values, and of the same with the values themselves.
template <class Self, class Callee>
class called_with_values : public callable<Self, Callee, value, std::span<value>> {
  using base = callable<Self, Callee, value, std::span<value>>;

 public:
#ifdef __cpp_exceptions
  using base::operator();
  /// The same with these arguments. Outputs reach elements that they refer to, and nothing else.
  value operator()(std::initializer_list<value> arguments) const {
    return try_call(arguments).value();
  }
#endif

  using base::try_call;
  /// The same with these arguments. Outputs reach elements that they refer to, and nothing else.
  [[nodiscard]] result<value> try_call(std::initializer_list<value> arguments) const {
    std::vector<value> copied(arguments);
    return base::try_call(copied);
  }
};

}  // namespace detail

/// A function of a loaded image, called with values that are checked against its signature. Made by
/// basic_loaded_image::dynamic(). It is otherwise as virtine::function: it shares its pool and its
/// policy with its copies, and any number of threads may call.
///
/// A call takes a std::span<value>. Spans that the function writes to are outputs: a list, text or
/// bytes among the values becomes what the function left of it, and a value that refers to elements
/// of the caller's has them written. Fails with errc::bad_argument if a value is not of its type;
/// the error names the argument.
///
/// - A bool, an integer type or an enum takes what it can hold. A float or double takes integers of
///   up to 53 bits, too.
/// - A std::string_view takes a text, bytes or a span of char.
/// - A std::span takes a list, a span of its element type, or its elements as bytes; a text if they
///   are characters.
/// - virtine::bytes<N> and structs take bytes.
/// - A pair, tuple or std::array takes a list of its parts; an optional its value, or nothing; a
///   variant a list of the alternative's number and its value.
///
/// A result has the first kind that its type takes. There is none for long double.
///
/// Example: `auto total = plugin.dynamic("total"); auto sum =
/// total->try_call({std::span(numbers)});`
class dynamic_function
    : public detail::called_with_values<dynamic_function,
                                        detail::async_callee<value, std::span<value>>> {
  using callee = detail::async_callee<value, std::span<value>>;

 public:
  dynamic_function(const dynamic_function&) = default;
  dynamic_function& operator=(const dynamic_function&) = default;
  ~dynamic_function() = default;

  /// Returns this function with other limits for each call.
  [[nodiscard]] dynamic_function with(call_options options) const {
    dynamic_function out(*this);
    out.options_ = std::move(options);
    return out;
  }

  /// Returns the function's signature, as docs/guest-abi.md has it. The text lives as long as the
  /// image or a function of it.
  [[nodiscard]] std::string_view signature() const { return signature_; }

  // Of dynamic_session.
  [[nodiscard]] std::shared_ptr<detail::callee<value, std::span<value>>> open_session(
      const call_options& opening) const {
    return open_session_(target_, opening);
  }

  // Of callable.
  [[nodiscard]] const std::shared_ptr<callee>& target() const { return target_; }
  [[nodiscard]] const call_options& options() const { return options_; }

 private:
  template <class Machine>
  friend class basic_loaded_image;

  /// Makes what answers the calls of a session of its function.
  using session_opener = std::shared_ptr<detail::callee<value, std::span<value>>> (*)(
      const std::shared_ptr<callee>&, const call_options&);

  dynamic_function(std::shared_ptr<callee> target, std::string_view signature,
                   session_opener opener)
      : target_(std::move(target)), signature_(signature), open_session_(opener) {}

  std::shared_ptr<callee> target_;
  call_options options_;
  std::string_view signature_;
  session_opener open_session_;
};

}  // namespace virtine
