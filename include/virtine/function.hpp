// virtine::function<Sig>: any function that runs in a virtual machine, whatever its image and
// policy.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <memory>
#include <utility>

#include <virtine/call/callable.hpp>
#include <virtine/call/caller.hpp>
#include <virtine/call_options.hpp>
#include <virtine/single_source.hpp>
#include <virtine/virtine_fn.hpp>

namespace virtine {

/// A function of type Sig that runs in a virtual machine. Its type names neither image nor policy,
/// so it suits members of classes, containers and interfaces. It can be made of any virtine_fn of
/// the same signature, and of a function that VIRTINE has marked. It shares the pool and the policy
/// of what it is made of; copies share them too. There is no empty one, so that one that was moved
/// from can still be called. A call costs one indirect call more. each() and together() make one
/// call after the other.
///
/// Example: `std::map<std::string, virtine::function<int(int)>> functions{{"square", square}};`
template <class Sig>
class function;

template <class R, class... A>
class function<R(A...)>
    : public detail::callable<function<R(A...)>, detail::async_callee<R, A...>, R, A...> {
 public:
  template <class Entry, class Policy>
  function(virtine_fn<R(A...), Entry, Policy> fn)  // NOLINT(google-explicit*)
      : target_(fn.target()) {}
  template <class Entry>
  function(const virtine_function<R(A...), Entry>& marked)  // NOLINT(google-explicit*)
      : target_(marked.target()) {}
  function(const function&) = default;
  function& operator=(const function&) = default;
  ~function() = default;

  // Of callable.
  [[nodiscard]] const std::shared_ptr<detail::async_callee<R, A...>>& target() const {
    return target_;
  }
  [[nodiscard]] static const call_options& options() { return detail::default_options; }

 private:
  std::shared_ptr<detail::async_callee<R, A...>> target_;
};

template <class R, class... A, class Entry, class Policy>
function(virtine_fn<R(A...), Entry, Policy>) -> function<R(A...)>;
template <class Sig, class Entry>
function(const virtine_function<Sig, Entry>&) -> function<Sig>;

}  // namespace virtine
