// virtine::dynamic_session: a session of a function whose type is known at run time only.
// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <span>

#include <virtine/call/callable.hpp>
#include <virtine/dynamic_function.hpp>
#include <virtine/value.hpp>

namespace virtine {

/// A function that is called with values, whose calls share one machine and its state. Otherwise as
/// virtine::session; arguments and results are those of dynamic_function.
///
/// Example: `dynamic_session counting(*plugin.dynamic("count")); counting({1}); counting({2});`
class dynamic_session
    : public detail::called_with_values<dynamic_session, detail::callee<value, std::span<value>>> {
  using callee = detail::callee<value, std::span<value>>;

 public:
  /// Opens a session on a machine of the function's pool, with its policy. `opening` limits this as
  /// it would a call. If that fails, each call returns the error: errc::image_refused if the image
  /// is for bare machines, which have no sessions. The destructor closes the session. That takes as
  /// long as a call, or a tenth of a second if the guest does not answer.
  explicit dynamic_session(const dynamic_function& fn, const call_options& opening = {})
      : target_(fn.open_session(opening)) {}
  dynamic_session(const dynamic_session&) = delete;
  dynamic_session& operator=(const dynamic_session&) = delete;
  ~dynamic_session() = default;

  // Of callable.
  [[nodiscard]] const std::shared_ptr<callee>& target() const { return target_; }
  [[nodiscard]] static const call_options& options() { return detail::default_options; }

 private:
  std::shared_ptr<callee> target_;
};

}  // namespace virtine
