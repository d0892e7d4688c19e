// VIRTINE: marks a function of an ordinary source file, which then runs in a virtual machine. The
// file is compiled twice: by virtine-cc, which makes an image of the marked functions and what they
// call, and by the host's compiler, to which the body is only a type.
// Knows nothing of how a call is made. docs/guide.md has the build.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/abi/checks.hpp>
#include <virtine/call/callable.hpp>
#include <virtine/call/caller.hpp>
#include <virtine/call/entry_checks.hpp>
#include <virtine/call/source_image.hpp>
#include <virtine/guest/call.hpp>
#include <virtine/pending.hpp>
#include <virtine/pool.hpp>
#include <virtine/result.hpp>
#include <virtine/virtine_fn.hpp>

#ifdef VIRTINE_GUEST
#include <virtine/guest/entry.hpp>
#endif

namespace virtine {

namespace detail {
struct any_policy {
  static constexpr bool allows(std::uint32_t) { return true; }
};
}  // namespace detail

/// What VIRTINE declares: a function whose calls run in virtual machines, as those of the
/// virtine_fn of the same signature that it uses, with a policy that denies all. All uses in the
/// process share that one, which is made at the first call.
///
/// For another policy or a pool of your choice make a virtine_fn of it:
/// `virtine::virtine_fn fn{square, policy}; fn(3);`
template <class Sig, class Entry>
class virtine_function;

template <class R, class... A, class Entry>
class virtine_function<R(A...), Entry>
    : public function_entry<R(A...), Entry>,
      detail::check_source<Entry>,
      detail::check_signature<R(A...)>,
      detail::check_entry<R(A...), Entry, detail::any_policy>,
      public detail::callable<virtine_function<R(A...), Entry>,
                              detail::caller<R(A...), Entry, deny_all>, R, A...> {
 public:
  /// Returns the pool that the calls of this function take their machines from, in all uses.
  [[nodiscard]] static auto& pool() { return function().pool(); }

  // Of callable.
  [[nodiscard]] static const auto& target() { return function().target(); }
  [[nodiscard]] static const call_options& options() { return detail::default_options; }

#ifndef __cpp_exceptions
  // For the bodies of marked functions, of which the host makes no code; no other call compiles.
  [[gnu::noinline,
    gnu::error("virtine: without exceptions a call by the name cannot fail; use try_call")]] R
  operator()(A...) const {
    __builtin_trap();
  }
#endif

 private:
  static auto& function() {
    static virtine_fn<R(A...), Entry> made;
    return made;
  }
};

template <class Sig, class Entry, class Policy = deny_all>
virtine_fn(const virtine_function<Sig, Entry>&, Policy = {}) -> virtine_fn<Sig, Entry, Policy>;
template <class Sig, class Entry, class Image, class Policy = deny_all>
virtine_fn(const virtine_function<Sig, Entry>&, pool<Image>&, Policy = {})
    -> virtine_fn<Sig, Entry, Policy>;

namespace detail {

/// A marked function whose plain calls run its body right here: within the guest, where marked
/// functions call each other and themselves, and in programs to be debugged.
template <class Sig, class Entry, auto Body>
class native;

template <class R, class... A, class Entry, auto Body>
class native<R(A...), Entry, Body> : public virtine_function<R(A...), Entry> {
 public:
#ifdef __clang__
  // A fault in a guest names the line of the call.
  __attribute__((nodebug))
#endif
  R operator()(A... arguments) const {
    return Body(arguments...);
  }
  [[nodiscard]] result<R> try_call(A... arguments) const {
    if constexpr (std::is_void_v<R>) {
      Body(arguments...);
      return {};
    } else {
      return Body(arguments...);
    }
  }
};

}  // namespace detail
}  // namespace virtine

// The body is inline, because a compiler that does not optimise would emit a static function that
// nothing calls.

/// Marks a function: `VIRTINE(square, (int x) -> int) { return x * x; }` declares `square`, whose
/// calls run in virtual machines (virtine::virtine_function). The result's type has to be written.
/// The file includes, before that, the header that virtine-cc makes of it, and does not compile
/// without. docs/guide.md says how a build keeps the two in step.
#define VIRTINE(function, ...)                                                       \
  VIRTINE_SECOND_OF(VIRTINE_IF_PARAMETERS __VA_ARGS__, VIRTINE_WITHOUT_PARAMETERS, ) \
  (function, __VA_ARGS__)

/// Marks an ordinary function, whose own name stays native: after `int square(int x) {...}`,
/// `VIRTINE_AS(isolated, &square);` declares `isolated`, which runs it in virtual machines. Takes
/// what leads to one function: `&names::square`, `&type::static_member`, `&largest<int>`, or
/// `static_cast<int (*)(int)>(&overloaded)`. Everything else is as for VIRTINE.
#define VIRTINE_AS(isolated, ...)                                                \
  [[maybe_unused]] static constexpr auto virtine_plain_##isolated = __VA_ARGS__; \
  VIRTINE_MARK(isolated, virtine_plain_##isolated)                               \
  static_assert(true)

// VIRTINE takes the form of its arguments apart, so that another form is one error, whose text is a
// name: a compiler that does not know the class of a member passes over the body [V141].
#define VIRTINE_SECOND(first, second, ...) second
#define VIRTINE_SECOND_OF(...) VIRTINE_SECOND(__VA_ARGS__)
#define VIRTINE_NOTHING(...)
#define VIRTINE_PLAIN(...) __VA_ARGS__
#define VIRTINE_IF_PARAMETERS(...) , VIRTINE_WITH_PARAMETERS,
#define VIRTINE_WITHOUT_PARAMETERS(function, ...) \
  virtine_V141_write_VIRTINE_name_comma_parameters_in_parentheses_arrow_result::function
#define VIRTINE_WITH_PARAMETERS(function, ...) \
  VIRTINE_WITH_REST(function, (__VA_ARGS__), VIRTINE_NOTHING __VA_ARGS__)
#define VIRTINE_WITH_REST(function, type, ...)                                \
  VIRTINE_SECOND_OF(__VA_OPT__(, VIRTINE_MARK_BODY, ) VIRTINE_WITHOUT_RESULT, \
                    VIRTINE_WITHOUT_RESULT, )                                 \
  (function, type)
#define VIRTINE_WITHOUT_RESULT(function, type) \
  virtine_V141_write_an_arrow_and_the_type_of_the_result_after_the_parameters::function
#define VIRTINE_MARK_BODY(function, type)                                         \
  [[maybe_unused]] static inline auto virtine_body_##function VIRTINE_PLAIN type; \
  VIRTINE_MARK(function, &virtine_body_##function)                                \
  static inline auto virtine_body_##function VIRTINE_PLAIN type

#define VIRTINE_MARK(function, pointer)                                                      \
  namespace {                                                                                \
  struct virtine_marked_##function {                                                         \
    using signature = ::virtine::detail::pointed_signature<std::decay_t<decltype(pointer)>>; \
    static constexpr ::std::string_view file{__FILE__};                                      \
    template <class Functions>                                                               \
    using entry = typename Functions::function;                                              \
  };                                                                                         \
  }                                                                                          \
  VIRTINE_DECLARE_MARKED(function, pointer)

#ifdef VIRTINE_GUEST
#define VIRTINE_DECLARE_MARKED(function, pointer)                                          \
  [[maybe_unused]] static constexpr ::virtine::detail::native<                             \
      virtine_marked_##function::signature,                                                \
      ::virtine::detail::stand_in_of<virtine_marked_##function>, pointer>                  \
      function{};                                                                          \
  VIRTINE_EXPORT_POINTER(pointer, function);                                               \
  [[gnu::used,                                                                             \
    gnu::section(".virtine.markers")]] static constexpr char virtine_marker_##function[] = \
      #function "\0" __FILE__;
#else
#define VIRTINE_MARKED_ENTRY(function) ::virtine::detail::source_entry<virtine_marked_##function>
#ifdef VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION
#pragma GCC warning \
    "functions marked by VIRTINE run natively, WITHOUT ISOLATION: for debugging only"
#define VIRTINE_DECLARE_MARKED(function, pointer)                                    \
  [[maybe_unused]] static constexpr ::virtine::detail::native<                       \
      virtine_marked_##function::signature, VIRTINE_MARKED_ENTRY(function), pointer> \
      function{};
#else
#define VIRTINE_DECLARE_MARKED(function, pointer)                           \
  [[maybe_unused]] static constexpr ::virtine::virtine_function<            \
      virtine_marked_##function::signature, VIRTINE_MARKED_ENTRY(function)> \
      function{};
#endif
#endif
