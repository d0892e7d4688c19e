// virtine_fn<Sig, Entry, Policy>: a function of an image, called like any other.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string_view>
#include <type_traits>
#include <utility>

#include <virtine/checks.hpp>
#include <virtine/frame.hpp>
#include <virtine/image.hpp>
#include <virtine/layout.hpp>
#include <virtine/marshal.hpp>
#include <virtine/policy.hpp>
#include <virtine/pool.hpp>
#include <virtine/result.hpp>

namespace virtine {

/// The limits of one call.
struct call_options {
  /// How long the call may run, handlers included; then it fails with errc::timed_out. A handler is
  /// not stopped, but a system call that it blocks in may return EINTR. Not positive: no time at
  /// all; nanoseconds::max(): no limit.
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
  /// A request to stop makes the call fail with errc::cancelled.
  std::stop_token stop = {};
  /// More hypercalls than this make the call fail with errc::hypercall_limit.
  std::uint64_t hypercalls = 1'000'000;
};

namespace detail {

/// Runs one call on a machine whose frame is written, serving its hypercalls by `policy`.
template <machine_like Machine, class Policy>
result<void> execute(Machine& machine, std::uint64_t function, const call_options& options,
                     Policy& policy) {
  auto stopped =
      machine.enter(function, {.until = deadline_after(options.timeout), .stop = options.stop});
  std::uint64_t made = 0;
  while (stopped && *stopped == stop::hypercall) {
    result<void> served = error{.code = errc::hypercall_limit, .detail = options.hypercalls};
    if (made++ < options.hypercalls) {
      served = policy.serve(machine.hypercall_number(), machine, machine.hypercall_frame());
    }
    if (!served) {
      machine.abandon();
      return served.why();
    }
    stopped = machine.resume();
  }
  if (!stopped) return stopped.why();
  return {};
}

/// Stands for an entry that was refused, so that the refusal is the only message.
struct no_image {
  static constexpr int format = image_format;
  static constexpr image_description description{.mode = x86::cpu_mode::real16};
};
struct no_entry {
  using type = no_entry;
  using image = no_image;
  static constexpr std::uint64_t address = 0;
  static constexpr std::string_view signature{};
  static constexpr const char* name = "";
};

// The mistakes that concern an image; as in checks.hpp, one message each.

template <class Entry>
struct not_an_entry {
  static_assert(never<Entry>,
                "virtine [V121]: this is not a function of an image. Name one of the generated "
                "types guests::IMAGE::FUNCTION, or an image that exports exactly one function.");
};

template <class HostSignature, class Entry>
struct other_signature {
  static_assert(never<Entry>,
                "virtine [V103]: the signature differs from the one this guest function was "
                "compiled with. Write the guest's types here, or build the guest again.");
};

template <std::size_t FrameSize, class Entry>
struct frame_too_large {
  static_assert(FrameSize == 0,
                "virtine [V105]: the arguments and the result are larger than the argument memory "
                "of the image. Pass a span, or build the image with a larger --arguments.");
};

template <class Policy, std::uint32_t Number>
struct hypercall_not_allowed {
  static_assert(never<Policy>,
                "virtine [V110]: the image makes a hypercall that the policy does not allow. Add "
                "virtine::allow<Call>(handler) for the hypercall of this number to the policy.");
};

template <class Image, class Policy>
constexpr std::uint64_t first_denied_import() {
  for (std::uint32_t number : Image::description.imports) {
    if (!Policy::allows(number)) return number;
  }
  return UINT64_MAX;
}

template <class Sig, class Entry, class Policy>
constexpr auto first_entry_mistake() {
  using image = typename Entry::image;
  if constexpr (signature<Sig> != Entry::signature) {
    return std::type_identity<other_signature<Sig, Entry>>{};
  } else if constexpr (frame<Sig>::size > image::description.arguments_size) {
    return std::type_identity<frame_too_large<frame<Sig>::size, Entry>>{};
  } else if constexpr (first_denied_import<image, Policy>() != UINT64_MAX) {
    constexpr auto number = static_cast<std::uint32_t>(first_denied_import<image, Policy>());
    return std::type_identity<hypercall_not_allowed<Policy, number>>{};
  } else {
    return std::type_identity<accepted>{};
  }
}

/// The entry that `Named` names, or no_entry.
template <class Named>
struct entry_or_none : no_entry {};
template <class Named>
requires guest_entry<typename entry_of<Named>::type>
struct entry_or_none<Named> {
  using type = typename entry_of<Named>::type;
};

/// What is wrong with calling `Named` as a `Sig`; nothing is said of a signature that is itself
/// refused.
template <class Sig, class Named, class Policy>
constexpr auto entry_mistake() {
  using entry = typename entry_or_none<Named>::type;
  if constexpr (!is_acceptable<Sig>) {
    return std::type_identity<accepted>{};
  } else if constexpr (std::is_same_v<entry, no_entry>) {
    return std::type_identity<not_an_entry<Named>>{};
  } else {
    return first_entry_mistake<Sig, entry, Policy>();
  }
}

template <class Sig, class Named, class Policy>
struct check_entry : decltype(entry_mistake<Sig, Named, Policy>())::type {};

}  // namespace detail

/// A function that runs in a virtual machine. `Sig` is its type, `Entry` a generated entry or an
/// image with a single one, `Policy` the type of the policy that serves its hypercalls.
///
/// Each call runs on a machine whose state is that of the image's snapshot, whatever earlier calls
/// did. Calls may be made from any number of threads. The arguments are copied in, outputs (spans
/// of non-const elements) are copied back when all went well. Costs one KVM_RUN on a machine that
/// was used before, and the creation of a machine, about twenty times that, if none is idle.
///
/// Example: `virtine::virtine_fn<int(int), guests::square> square; int nine = square(3);`
template <class Sig, class Entry, class Policy = deny_all>
class virtine_fn {
  static_assert(detail::never<Sig>,
                "virtine [V116]: the first argument of virtine_fn is not the type of a function. "
                "Write the result and, in parentheses, the arguments: int(int).");
};

/// `noexcept` is part of a function's type and says nothing of a call.
template <class R, class... A, class Entry, class Policy>
class virtine_fn<R(A...) noexcept, Entry, Policy> : public virtine_fn<R(A...), Entry, Policy> {
  using virtine_fn<R(A...), Entry, Policy>::virtine_fn;
};

template <class R, class... A, class Named, class Policy>
class virtine_fn<R(A...), Named, Policy> : detail::check_signature<R(A...)>,
                                           detail::check_entry<R(A...), Named, Policy> {
  using entry = typename detail::entry_or_none<Named>::type;

 public:
  using image = typename entry::image;

  /// Uses a pool of its own. Opens nothing yet; the first call may fail with errc::no_kvm.
  virtine_fn() requires std::is_default_constructible_v<Policy> : virtine_fn(Policy{}) {}
  explicit virtine_fn(Policy policy)
      : pool_(std::make_shared<virtine::pool<image>>()), policy_(std::move(policy)) {}

  /// Uses `pool`, which must outlive this.
  explicit virtine_fn(virtine::pool<image>& pool, Policy policy = {})
      : pool_(std::shared_ptr<void>{}, &pool), policy_(std::move(policy)) {}

#ifdef __cpp_exceptions
  /// Calls the function. Throws failure if that does not succeed.
  R operator()(A... arguments) {
    return call({}, arguments...).value();
  }
#endif

  /// Calls the function; returns its result or what went wrong.
  [[nodiscard]] result<R> try_call(A... arguments) {
    return call({}, arguments...);
  }

  /// The function with limits of its own for each call.
  class limited {
   public:
#ifdef __cpp_exceptions
    R operator()(A... arguments) const {
      return fn_.call(options_, arguments...).value();
    }
#endif
    [[nodiscard]] result<R> try_call(A... arguments) const {
      return fn_.call(options_, arguments...);
    }

   private:
    friend virtine_fn;
    limited(virtine_fn& fn, call_options options) : fn_(fn), options_(std::move(options)) {}
    virtine_fn& fn_;
    call_options options_;
  };

  /// Returns this function with other limits: `fn.with({.timeout = 50ms})(3)`.
  [[nodiscard]] limited with(call_options options) {
    return {*this, std::move(options)};
  }

 private:
  result<R> call(const call_options& options, const A&... arguments) {
    const detail::marshaller<R(A...)> marshalled(arguments...);
    if (options.timeout <= options.timeout.zero()) return error{.code = errc::timed_out};
    auto lent = pool_->borrow();
    if (!lent) return lent.why();
    const auto started = detail::monotonic::now();
    result<R> reply = call_on(**lent, marshalled, options);
    if (!reply && reply.why().code == errc::not_entered) {
      // What the call before left behind must not be this one's failure.
      if (auto replaced = lent->replace(); !replaced) return replaced.why();
      call_options rest = options;
      rest.timeout -= detail::monotonic::now() - started;
      reply = call_on(**lent, marshalled, rest);
      // A new machine holds nothing of another call, so this one's function did it.
      if (!reply && reply.why().code == errc::not_entered) {
        error why = reply.why();
        why.code = errc::guest_fault;
        reply = why;
      }
    }
    lent->give_back(marshalled.used());
    return reply;
  }

  result<R> call_on(machine_of<image>& machine, const detail::marshaller<R(A...)>& marshalled,
                    const call_options& options) {
    auto written = marshalled.write(machine.arguments(), machine.arguments_address());
    if (!written) return written.why();
    auto ran = detail::execute(machine, entry::address, options, policy_);
    if (!ran) return ran.why();
    return marshalled.read(machine.arguments());
  }

  std::shared_ptr<virtine::pool<image>> pool_;
  [[no_unique_address]] std::remove_const_t<Policy> policy_;
};

}  // namespace virtine
