// allow<Call>(handler): a hypercall that a guest may make, how its arguments are checked, and what
// answers it.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <virtine/abi/frame.hpp>
#include <virtine/abi/object_bytes.hpp>
#include <virtine/hypercall.hpp>
#include <virtine/machine/guest_access.hpp>
#include <virtine/policy/grant.hpp>
#include <virtine/tainted.hpp>

namespace virtine {

/// What a handler returns to end the call with errc::hypercall_rejected.
struct reject {};

/// The result of a handler that may reject: `-> virtine::answer<int>`.
template <class R>
class answer {
 public:
  answer(R value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  answer(reject) {}                              // NOLINT(google-explicit-constructor)

  [[nodiscard]] const std::optional<R>& value() const { return value_; }

 private:
  std::optional<R> value_;
};

/// The answer of a hypercall without a result.
template <>
class answer<void> {
 public:
  answer() = default;
  answer(reject) : rejected_(true) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool rejected() const { return rejected_; }

 private:
  bool rejected_ = false;
};

/// Elements in guest memory that a handler may fill: what a `std::span<T>` parameter of a hypercall
/// becomes. Valid until the handler returns.
template <class T>
class guest_buffer {
 public:
  guest_buffer(detail::guest_access& guest, guest_address at, std::size_t size)
      : guest_(&guest), at_(at), size_(size) {}

  /// Returns how many elements there is room for; that much memory exists.
  [[nodiscard]] std::size_t size() const { return size_; }

  /// Writes `from`, or its first size() elements if there are more. Returns how many it wrote.
  std::size_t fill(std::span<const T> from) {
    const std::size_t count = std::min(size_, from.size());
    if (count == 0) return 0;
    if constexpr (!detail::may_have_padding<T>) {
      return guest_->write(at_, std::as_bytes(from.first(count))) ? count : 0;
    } else {
      std::array<std::byte, sizeof(T)> element;
      for (std::size_t i = 0; i < count; ++i) {
        detail::encode(element.data(), from[i]);
        const auto to = guest_address{to_number(at_) + i * sizeof(T)};
        if (!guest_->write(to, element)) return i;
      }
      return count;
    }
  }

 private:
  detail::guest_access* guest_;
  guest_address at_;
  std::size_t size_;
};

namespace detail {

template <class A>
struct handler_argument {
  using type = tainted<A>;
};
template <class T>
requires(!std::is_const_v<T>) struct handler_argument<std::span<T>> {
  using type = guest_buffer<T>;
};
template <class A>
using handler_argument_t = typename handler_argument<A>::type;

/// Reads the argument of type A whose frame slot is at `slot`. An error rejects the hypercall.
template <class A>
result<handler_argument_t<A>> read_argument(detail::guest_access& guest, const std::byte* slot) {
  constexpr error rejected{.code = errc::hypercall_rejected,
                           .operation = "a hypercall argument is not a value of its type"};
  if constexpr (is_sequence<A>) {
    using element = std::remove_const_t<sequence_element_t<A>>;
    static_assert(any_bytes_are_valid<element>(),
                  "virtine [V113]: a hypercall passes a span of bool, of an enum or of a type that "
                  "holds one or that the library cannot see into, whose values would have to be "
                  "checked one by one. Pass std::span<const std::byte>.");
    sequence_reference where;
    std::memcpy(&where, slot, sizeof where);
    if (where.count > SIZE_MAX / sizeof(element)) return rejected;
    if (where.count == 0) where.address = 0;
    if (where.address % alignof(element) != 0) return rejected;
    const std::size_t size = where.count * sizeof(element);
    auto bytes = size == 0 ? result<std::span<const std::byte>>(std::span<const std::byte>{})
                           : guest.read(guest_address{where.address}, size);
    if (!bytes) {
      return error{.code = errc::hypercall_rejected,
                   .operation = "a hypercall argument lies outside the guest's memory",
                   .detail = where.address};
    }
    if constexpr (is_output<A>()) {
      return handler_argument_t<A>{guest, guest_address{where.address},
                                   static_cast<std::size_t>(where.count)};
    } else {
      // Sound: the range was checked, element is trivially copyable and any bytes are one, the
      // address is aligned in the guest and guest memory is page-aligned in the host.
      return tainted<A>{A{reinterpret_cast<const element*>(bytes->data()), where.count}};
    }
  } else {
    auto value = decode<A>(slot);
    if (!value) return rejected;
    return tainted<A>{*std::move(value)};
  }
}

template <class Sig>
struct server;

template <class R, class... A>
struct server<R(A...)> {
  using layout = hypercall_frame<R(A...)>;

  template <class Handler>
  static constexpr bool accepts =
      std::is_invocable_r_v<answer<R>, Handler&, handler_argument_t<A>...> ||
      (std::is_void_v<R> && std::is_invocable_r_v<void, Handler&, handler_argument_t<A>...>);

  template <class Handler>
  static result<void> serve(Handler& handler, detail::guest_access& guest, guest_address at) {
    // Copied once, so that what is checked is what is used.
    std::array<std::byte, layout::size> slots{};
    if constexpr (layout::size > 0) {
      auto from = guest.read(at, layout::size);
      if (!from) {
        return error{.code = errc::hypercall_rejected,
                     .operation = "a hypercall frame lies outside the guest's memory",
                     .detail = to_number(at)};
      }
      std::memcpy(slots.data(), from->data(), layout::size);
    }
    return [&]<std::size_t... I>(std::index_sequence<I...>)->result<void> {
      std::tuple<std::optional<handler_argument_t<A>>...> arguments;
      result<void> good;
      [[maybe_unused]] const auto take = [&](auto argument, auto& to) {
        if (!argument) {
          good = argument.error();
        } else {
          to.emplace(*std::move(argument));
        }
        return good.has_value();
      };
      static_cast<void>((take(read_argument<A>(guest, slots.data() + layout::offsets[I]),
                              std::get<I>(arguments)) &&
                         ...));
      if (!good) return good;
      return reply(handler, guest, at, *std::move(std::get<I>(arguments))...);
    }
    (std::index_sequence_for<A...>{});
  }

 private:
  static constexpr error rejected{.code = errc::hypercall_rejected,
                                  .operation = "the handler rejected the hypercall"};

  template <class Handler>
  static result<void> reply(Handler& handler, detail::guest_access& guest, guest_address at,
                            handler_argument_t<A>... arguments) {
    if constexpr (std::is_void_v<R>) {
      if constexpr (std::is_void_v<std::invoke_result_t<Handler&, handler_argument_t<A>...>>) {
        handler(std::move(arguments)...);
        return {};
      } else {
        const answer<void> given = handler(std::move(arguments)...);
        if (given.rejected()) return rejected;
        return {};
      }
    } else {
      const answer<R> given = handler(std::move(arguments)...);
      if (!given.value()) return rejected;
      std::array<std::byte, wire<R>::size> bytes;
      encode(bytes.data(), *given.value());
      if (!guest.write(at, bytes)) {
        return error{.code = errc::hypercall_rejected,
                     .operation = "a hypercall frame lies outside the guest's memory",
                     .detail = to_number(at)};
      }
      return {};
    }
  }
};

}  // namespace detail

/// One hypercall that a policy allows, with its handler. Made by allow().
template <hypercall_type Call, class Handler>
struct allowed {
  using call = Call;
  static constexpr std::array things{detail::granted_thing{"hypercall", Call::number}};
  Handler handler;

  [[nodiscard]] std::string describe() const {
    return "hypercall " + std::to_string(Call::number) + ": answered by a handler";
  }

  static_assert(
      detail::server<typename Call::signature_type>::template accepts<Handler>,
      "virtine [V111]: a handler cannot be called with the hypercall's arguments, or what "
      "it returns is not the hypercall's result. It "
      "must accept virtine::tainted<A> for each value, string_view or span<const T>, and "
      "virtine::guest_buffer<T> for each span<T>, in the order of the signature, and "
      "return its result or virtine::answer of it.");
};

/// Allows `Call`, and answers it by `handler`. The handler runs on the thread that made the call,
/// while the guest is stopped. If several threads make calls, it runs on several threads at once.
template <hypercall_type Call, class Handler>
allowed<Call, Handler> allow(Handler handler) {
  return {std::move(handler)};
}

}  // namespace virtine
