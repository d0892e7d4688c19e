// The host's side of a call frame: writes arguments, checks the reply, copies outputs back. Offsets
// come from frame.hpp; nothing that the guest wrote is used as an address or a length.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include <virtine/abi/frame.hpp>
#include <virtine/abi/object_bytes.hpp>
#include <virtine/call/too_large.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/lent.hpp>
#include <virtine/machine/lent_window.hpp>
#include <virtine/result.hpp>

namespace virtine::detail {

template <class Sig>
class marshaller;

/// Stands for the marshaller of a signature that check_signature refuses, so that the refusal is
/// the only message.
template <class R, class... A>
requires(!is_acceptable<R(A...)>) class marshaller<R(A...)> {
 public:
  explicit marshaller(const A&...) {}
  [[nodiscard]] static std::size_t used() { return 0; }
  [[nodiscard]] static std::array<const lent_memory*, 0> lent() { return {}; }
  [[nodiscard]] static std::size_t output_size() { return 0; }
  [[nodiscard]] static std::size_t reply_size() { return 0; }
  [[nodiscard]] static std::size_t max_reply_size(std::size_t) { return 0; }
  static result<void> write(std::span<std::byte>, guest_address) { return error{}; }
  static result<R> read(std::span<const std::byte>) { return error{}; }
  static result<R> read(std::span<const std::byte>, std::span<const std::byte>) { return error{}; }
};

/// Holds the arguments of one call while it runs.
template <class R, class... A>
requires is_acceptable<R(A...)>
class marshaller<R(A...)> {
  using layout = frame<R(A...)>;
  using indices = std::index_sequence_for<A...>;

 public:
  explicit marshaller(const A&... arguments) : arguments_(arguments...) {
    std::size_t at = layout::size;
    each([&]<class T>(std::size_t i, const T& argument) {
      if constexpr (is_sequence<T>) {
        using element = sequence_element_t<T>;
        if (at >= too_much) return;
        at = align_up(at, alignof(element));
        starts_[i] = at;
        // Neither the product nor the sum may wrap to something that fits.
        const std::size_t most = (too_much - at) / sizeof(element);
        at = argument.size() > most ? too_much : at + argument.size() * sizeof(element);
      }
    });
    used_ = at;
  }

  /// Returns how many bytes of argument memory the call takes.
  [[nodiscard]] std::size_t used() const { return used_; }

  /// Returns how many bytes read() copies out: the result and the elements of outputs.
  [[nodiscard]] std::size_t output_size() const {
    std::size_t size = result_size<R>();
    each([&]<class T>(std::size_t, const T& argument) {
      if constexpr (is_output<T>()) size += argument.size_bytes();
    });
    return size;
  }

  /// Returns the memory that the call is lent, in the order of its arguments.
  [[nodiscard]] std::array<const lent_memory*, lent_count<R(A...)>> lent() const {
    std::array<const lent_memory*, lent_count<R(A...)>> all{};
    std::size_t next = 0;
    each([&]<class T>(std::size_t, const T& argument) {
      if constexpr (is_lent<T>) all[next++] = &argument.memory();
    });
    return all;
  }

  /// Fails with errc::bad_argument if memory that the call is lent does not consist of whole
  /// elements.
  [[nodiscard]] result<void> check() const requires(lent_count<R(A...)> > 0) {
    result<void> checked;
    each([&]<class T>(std::size_t, const T& argument) {
      if constexpr (is_lent<T>) {
        const std::size_t size = argument.memory().size();
        if (size % sizeof(sequence_element_t<T>) == 0 || !checked) return;
        checked = error{.code = errc::bad_argument,
                        .operation = "the size of lent memory is no multiple of an element's",
                        .detail = size};
      }
    });
    return checked;
  }

  /// Returns how many of these bytes read() checks before it takes them for good.
  [[nodiscard]] std::size_t reply_size() const { return checks_outputs ? used_ : layout::size; }

  /// Returns what reply_size() is at most for calls that fit into `size` bytes.
  [[nodiscard]] static constexpr std::size_t max_reply_size(std::size_t size) {
    return checks_outputs ? size : layout::size;
  }

  /// Writes the frame to `area`, which the guest has at `base`. Fails with
  /// errc::arguments_too_large, and writes nothing, if it does not fit.
  result<void> write(std::span<std::byte> area, guest_address base) const {
    if (used_ > area.size()) return too_large(used_, area.size());
    [[maybe_unused]] std::size_t pane = 0;
    each([&]<class T>(std::size_t i, const T& argument) {
      std::byte* slot = area.data() + layout::offsets[i];
      if constexpr (is_sequence<T>) {
        encode(slot, sequence_reference{to_number(base) + starts_[i], argument.size()});
        write_elements(area.data() + starts_[i], argument);
      } else if constexpr (is_lent<T>) {
        const auto at = lent_window::address_of(pane++, argument.memory().size());
        encode(slot, sequence_reference{to_number(at), argument.size()});
      } else {
        encode(slot, argument);
      }
    });
    return {};
  }

  /// Checks all that the guest gives, then copies outputs to the caller's spans and returns the
  /// result. Fails with errc::bad_reply, and changes nothing, if a value is not one of its type.
  result<R> read(std::span<const std::byte> area) const { return read(area, area); }

  /// The same where the guest may change `area` meanwhile: `reply` is a copy of its first
  /// reply_size() bytes. Outputs of which any bytes are valid come from `area`.
  result<R> read(std::span<const std::byte> reply, std::span<const std::byte> area) const {
    constexpr error bad{.code = errc::bad_reply,
                        .operation = "the guest gave a value that its type does not have"};
    bool good = true;
    each([&]<class T>(std::size_t i, const T& argument) {
      if constexpr (is_output<T>()) {
        using element = sequence_element_t<T>;
        if constexpr (!any_bytes_are_valid<element>()) {
          for (std::size_t k = 0; k < argument.size(); ++k) {
            good = good && is_value<element>(reply.data() + starts_[i] + k * sizeof(element));
          }
        }
      }
    });
    if (!good) return bad;
    const std::span<const std::byte> outputs = checks_outputs ? reply : area;
    if constexpr (std::is_void_v<R>) {
      copy_back(outputs);
      return {};
    } else {
      auto value = decode<R>(reply.data() + layout::result_offset);
      if (!value) return bad;
      copy_back(outputs);
      return *std::move(value);
    }
  }

 private:
  static constexpr std::size_t too_much = SIZE_MAX / 2;  // More than any image's memory.

  template <class T>
  static constexpr bool is_checked_output() {
    if constexpr (is_output<T>()) {
      return !any_bytes_are_valid<sequence_element_t<T>>();
    } else {
      return false;
    }
  }
  static constexpr bool checks_outputs = (is_checked_output<A>() || ...);

  template <class F>
  void each(F&& f) const {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (f(I, std::get<I>(arguments_)), ...);
    }
    (indices{});
  }

  template <class T>
  static void write_elements(std::byte* to, const T& elements) {
    using element = std::remove_const_t<sequence_element_t<T>>;
    if (elements.empty()) return;
    if constexpr (!may_have_padding<element>) {
      std::memcpy(to, elements.data(), elements.size() * sizeof(element));
    } else {
      for (const element& each : elements) {
        encode(to, each);
        to += sizeof(element);
      }
    }
  }

  void copy_back(std::span<const std::byte> area) const {
    each([&]<class T>(std::size_t i, const T& argument) {
      if constexpr (is_output<T>()) {
        if (!argument.empty()) {
          std::memcpy(argument.data(), area.data() + starts_[i], argument.size_bytes());
        }
      }
    });
  }

  const std::tuple<const A&...> arguments_;
  std::array<std::size_t, sizeof...(A) + 1> starts_{};  // Of the elements of each sequence.
  std::size_t used_ = 0;
};

}  // namespace virtine::detail
