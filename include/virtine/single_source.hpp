// VIRTINE: marks a function of an ordinary source file, which then runs in a virtual machine. The
// file is compiled twice: by virtine-cc, which makes an image of the marked functions and what they
// call, and by the host's compiler, to which the body is only a type. docs/guide.md describes the
// build.
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

/// What VIRTINE declares: a function whose calls run in virtual machines, with a policy that denies
/// all. All its uses in the process share one virtine_fn and its pool, made at the first call.
///
/// For another policy or pool, make a virtine_fn of it:
/// `virtine::virtine_fn fn{square, policy}; fn(3);`
template <class Sig, class Entry>
class virtine_function;

template <class R, class... A, class Entry>
class virtine_function<R(A...), Entry>
    : public function_entry<R(A...), Entry>,
      public detail::callable<virtine_function<R(A...), Entry>,
                              detail::caller<R(A...), Entry, deny_all>, R, A...>,
      detail::check_signature<R(A...)>,
      detail::check_entry<R(A...), Entry, detail::any_policy> {
  // No base: of a class with a base that fails clang leaves out all bases, and misses their
  // members.
  static_assert(sizeof(detail::check_source<Entry>) > 0);  // NOLINT(bugprone-sizeof-expression)

 public:
  /// Returns the pool of this function, which all its uses in the process share.
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

/// Returns a marked function as one of type `Lending`, which has virtine::lent<const T> where the
/// function takes a std::span<const T> that is not to be copied in. It has a pool of its own.
///
/// Example: `auto fast = virtine::lending<long(virtine::lent<const int>)>(sum); fast(memory);`
template <class Lending, class Sig, class Entry, class Policy = deny_all>
[[nodiscard]] virtine_fn<Lending, Entry, Policy> lending(const virtine_function<Sig, Entry>&,
                                                         Policy policy = {}) {
  return virtine_fn<Lending, Entry, Policy>(std::move(policy));
}

namespace detail {

/// A marked function whose plain calls run its body in place: within the guest, where marked
/// functions call each other and themselves, and in host programs that are built to be debugged.
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
/// calls run in virtual machines (virtine::virtine_function). The result type must be written.
/// Include the header that virtine-cc makes of the file before the first use; without it the file
/// does not compile. docs/guide.md says how a build keeps file and header in step.
#define VIRTINE(function, ...)                                                       \
  VIRTINE_SECOND_OF(VIRTINE_IF_PARAMETERS __VA_ARGS__, VIRTINE_WITHOUT_PARAMETERS, ) \
  (function, __VA_ARGS__)

/// Marks an ordinary function, whose own name stays native: after `int square(int x) {...}`,
/// `VIRTINE_AS(isolated, &square);` declares `isolated`, which runs it in virtual machines. Takes
/// what leads to one function: `&names::square`, `&type::static_member`, `&largest<int>`, or
/// `static_cast<int (*)(int)>(&overloaded)`. Everything else is as for VIRTINE.
#define VIRTINE_AS(isolated, ...)                                                            \
  VIRTINE_MARK_POINTER(isolated, VIRTINE_BODY_NAME(isolated), VIRTINE_MARKED_NAME(isolated), \
                       __VA_ARGS__)
#define VIRTINE_MARK_POINTER(isolated, plain, marked, ...)                                       \
  [[maybe_unused]] static constexpr auto plain = __VA_ARGS__;                                    \
  static_assert(::virtine::detail::is_function_pointer<std::decay_t<decltype(plain)>>,           \
                "virtine [V140]: VIRTINE_AS takes the address of one function: a function of a " \
                "namespace, a static member, a template's instance, or an overload that a "      \
                "static_cast chooses. Write a function that calls what you have.");              \
  VIRTINE_MARK(isolated, marked, plain)                                                          \
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
#define VIRTINE_MARK_BODY(function, type) \
  VIRTINE_MARK_BODY_AS(function, VIRTINE_BODY_NAME(function), VIRTINE_MARKED_NAME(function), type)
#define VIRTINE_MARK_BODY_AS(function, body, marked, type)     \
  [[maybe_unused]] static inline auto body VIRTINE_PLAIN type; \
  VIRTINE_MARK(function, marked, &body)                        \
  static inline auto body VIRTINE_PLAIN type

#define VIRTINE_MARK(function, marked, pointer)                                              \
  namespace {                                                                                \
  struct marked {                                                                            \
    using signature = ::virtine::detail::pointed_signature<std::decay_t<decltype(pointer)>>; \
    static constexpr ::std::string_view file{__FILE__};                                      \
    template <class Functions>                                                               \
    using entry = typename Functions::function;                                              \
  };                                                                                         \
  }                                                                                          \
  VIRTINE_DECLARE_MARKED(function, marked, pointer)

#define VIRTINE_JOIN_EXPANDED(first, second) first##second
#define VIRTINE_JOIN(first, second) VIRTINE_JOIN_EXPANDED(first, second)

#ifdef VIRTINE_GUEST
#define VIRTINE_BODY_NAME(function) virtine_body_##function
#define VIRTINE_MARKED_NAME(function) virtine_marked_##function
#define VIRTINE_DECLARE_MARKED(function, marked, pointer)                                  \
  [[maybe_unused]] static constexpr ::virtine::detail::native<                             \
      marked::signature, ::virtine::detail::stand_in_of<marked>, pointer>                  \
      function{};                                                                          \
  VIRTINE_EXPORT_POINTER(pointer, function);                                               \
  [[gnu::used,                                                                             \
    gnu::section(".virtine.markers")]] static constexpr char virtine_marker_##function[] = \
      #function "\0" __FILE__;
#else
// Another name in each line, so that a function that is marked twice is one error.
#define VIRTINE_BODY_NAME(function) VIRTINE_JOIN(virtine_body_##function##_, __LINE__)
#define VIRTINE_MARKED_NAME(function) VIRTINE_JOIN(virtine_marked_##function##_, __LINE__)
#ifdef VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION
#pragma GCC warning \
    "functions marked by VIRTINE run natively, WITHOUT ISOLATION: for debugging only"
#define VIRTINE_DECLARE_MARKED(function, marked, pointer)                  \
  [[maybe_unused]] static constexpr ::virtine::detail::native<             \
      marked::signature, ::virtine::detail::source_entry<marked>, pointer> \
      function{};
#else
#define VIRTINE_DECLARE_MARKED(function, marked, pointer)         \
  [[maybe_unused]] static constexpr ::virtine::virtine_function<  \
      marked::signature, ::virtine::detail::source_entry<marked>> \
      function{};
#endif
#endif
