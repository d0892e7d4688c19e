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
  static_assert(sizeof(detail::check_source<Entry>) > 0);

 public:
  /// Returns the pool of this function, which all its uses in the process share.
  [[nodiscard]] static auto& pool() { return function().pool(); }

  // Of callable.
  [[nodiscard]] static const auto& target() { return function().target(); }
  [[nodiscard]] static const call_options& options() { return detail::default_options; }

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
#define VIRTINE(function, ...)                                                               \
  [[maybe_unused]] static inline auto virtine_body_##function __VA_ARGS__;                   \
  namespace {                                                                                \
  struct virtine_marked_##function {                                                         \
    using signature = ::virtine::detail::plain_signature<decltype(virtine_body_##function)>; \
    static constexpr ::std::string_view file{__FILE__};                                      \
    template <class Functions>                                                               \
    using entry = typename Functions::function;                                              \
  };                                                                                         \
  }                                                                                          \
  VIRTINE_DECLARE_MARKED(function)                                                           \
  static inline auto virtine_body_##function __VA_ARGS__

#ifdef VIRTINE_GUEST
#define VIRTINE_DECLARE_MARKED(function)                                                   \
  [[maybe_unused]] static constexpr ::virtine::detail::native<                             \
      virtine_marked_##function::signature,                                                \
      ::virtine::detail::stand_in_of<virtine_marked_##function>, &virtine_body_##function> \
      function{};                                                                          \
  VIRTINE_EXPORT_AS(virtine_body_##function, function);                                    \
  [[gnu::used,                                                                             \
    gnu::section(".virtine.markers")]] static constexpr char virtine_marker_##function[] = \
      #function "\0" __FILE__;
#else
#define VIRTINE_MARKED_ENTRY(function) ::virtine::detail::source_entry<virtine_marked_##function>
#ifdef VIRTINE_RUN_NATIVELY_WITHOUT_ISOLATION
#pragma GCC warning \
    "functions marked by VIRTINE run natively, WITHOUT ISOLATION: for debugging only"
#define VIRTINE_DECLARE_MARKED(function)                                    \
  [[maybe_unused]] static constexpr ::virtine::detail::native<              \
      virtine_marked_##function::signature, VIRTINE_MARKED_ENTRY(function), \
      &virtine_body_##function>                                             \
      function{};
#else
#define VIRTINE_DECLARE_MARKED(function)                                    \
  [[maybe_unused]] static constexpr ::virtine::virtine_function<            \
      virtine_marked_##function::signature, VIRTINE_MARKED_ENTRY(function)> \
      function{};
#endif
#endif
