// The host's side of a call frame whose types are known at run time: as marshal.hpp, for values.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/abi/frame.hpp>
#include <virtine/call/too_large.hpp>
#include <virtine/guest_memory.hpp>
#include <virtine/os/out_of_memory.hpp>
#include <virtine/pool/machine_like.hpp>
#include <virtine/result.hpp>
#include <virtine/value.hpp>
#include <virtine/value/codec.hpp>
#include <virtine/value/shape.hpp>

namespace virtine::detail {

/// Returns where the bytes of a value's elements are that a caller has for outputs; null if the
/// value has none that can be written.
inline std::byte* writable_elements(value& of) {
  if (auto* const text = std::get_if<std::string>(&of.held())) {
    return std::as_writable_bytes(std::span(*text)).data();
  }
  if (auto* const bytes = std::get_if<std::vector<std::byte>>(&of.held())) return bytes->data();
  if (auto* const elements = std::get_if<borrowed_elements>(&of.held())) return elements->writable;
  return nullptr;
}

/// Returns what is wrong where a function takes another number of arguments than it is given.
inline error wrong_count(std::string_view name, std::size_t takes, std::size_t given) {
  return told({.code = errc::bad_argument}, std::string(name) + " takes " + std::to_string(takes) +
                                                (takes == 1 ? " argument" : " arguments") +
                                                ", and " + std::to_string(given) +
                                                (given == 1 ? " is given" : " are given"));
}

/// Holds the arguments of one call while it runs.
class value_marshaller {
 public:
  /// What a frame is aligned to, whatever its types.
  static constexpr std::size_t alignment = frame_alignment;

  /// `types` are those of the function `name` of `Entry`.
  template <class Entry>
  value_marshaller(const Entry& entry, std::span<value> arguments)
      : types_(entry.types),
        arguments_(arguments),
        checked_(os::or_out_of_memory([&] { return place(entry.name); })) {}

  /// Says what is wrong with the arguments: errc::bad_argument, which names the first that is not
  /// of its type.
  [[nodiscard]] const result<void>& check() const { return checked_; }

  [[nodiscard]] std::size_t used() const { return used_; }

  /// As marshaller::output_size().
  [[nodiscard]] std::size_t output_size() const {
    std::size_t size = types_.result.room.size;
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      const shape& type = types_.arguments[i];
      if (type.is_output) size += elements_[i].count * type.parts[0].room.size;
    }
    return size;
  }

  /// As marshaller::reply_size() and max_reply_size().
  [[nodiscard]] std::size_t reply_size() const {
    const auto is_output = [](const shape& type) { return type.is_output; };
    const bool has_outputs =
        std::any_of(types_.arguments.begin(), types_.arguments.end(), is_output);
    return has_outputs ? used_ : types_.size;
  }
  [[nodiscard]] static constexpr std::size_t max_reply_size(std::size_t size) { return size; }

  /// As marshaller::write(). The arguments are good.
  result<void> write(std::span<std::byte> area, guest_address base) const {
    if (used_ > area.size()) return too_large(used_, area.size());
    return os::or_out_of_memory([&]() -> result<void> {
      value_encoder encoder;
      for (std::size_t i = 0; i < arguments_.size(); ++i) {
        const shape& type = types_.arguments[i];
        std::byte* const slot = area.data() + types_.places[i];
        if (type.is_sequence()) {
          const sequence_reference where{to_number(base) + elements_[i].start, elements_[i].count};
          std::memcpy(slot, &where, sizeof where);
          encoder.write_elements(type, arguments_[i], elements_[i].count,
                                 area.data() + elements_[i].start);
        } else {
          encoder.write(type, arguments_[i], slot);
        }
      }
      return {};
    });
  }

  /// As marshaller::read(): lists, bytes and texts of the caller's become what the guest left of
  /// them.
  [[nodiscard]] result<value> read(std::span<const std::byte> area) const {
    return os::or_out_of_memory([&] { return read_all(area.data()); });
  }
  /// The same where the guest may change the memory meanwhile: all comes from its copy, `reply`.
  [[nodiscard]] result<value> read(std::span<const std::byte> reply,
                                   std::span<const std::byte>) const {
    return read(reply);
  }

 private:
  struct elements {
    std::size_t start = 0;
    std::size_t count = 0;
  };

  static constexpr std::size_t too_much = SIZE_MAX / 2;  // More than any image's memory.

  /// Checks the arguments, and finds places for elements.
  result<void> place(std::string_view name) {
    if (arguments_.size() != types_.arguments.size()) {
      return wrong_count(name, types_.arguments.size(), arguments_.size());
    }
    elements_.resize(arguments_.size());
    value_encoder encoder;
    std::size_t at = types_.size;
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      const auto wrong = [&](const std::string& why) {
        return told({.code = errc::bad_argument},
                    "argument " + std::to_string(i + 1) + " of " + std::string(name) + ": " + why);
      };
      const shape& type = types_.arguments[i];
      if (!type.is_sequence()) {
        if (!encoder.write(type, arguments_[i], nullptr)) return wrong(encoder.why());
        continue;
      }
      const auto count = encoder.count(type, arguments_[i]);
      if (!count || !encoder.write_elements(type, arguments_[i], *count, nullptr)) {
        return wrong(encoder.why());
      }
      if (type.is_output && *count > 0 && arguments_[i].kind() != value_kind::list &&
          writable_elements(arguments_[i]) == nullptr) {
        return wrong("outputs cannot be written to a span of const elements");
      }
      const extent element = type.kind == shape_kind::text ? extent{1, 1} : type.parts[0].room;
      if (at >= too_much) continue;
      at = align_up(at, element.alignment);
      elements_[i] = {at, *count};
      // Neither the product nor the sum may wrap to something that fits.
      at = *count > (too_much - at) / element.size ? too_much : at + *count * element.size;
    }
    used_ = at;
    return {};
  }

  [[nodiscard]] result<value> read_all(const std::byte* area) const {
    constexpr error bad{.code = errc::bad_reply,
                        .operation = "the guest gave a value that its type does not have"};
    std::vector<std::vector<value>> lists(arguments_.size());
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      const shape& type = types_.arguments[i];
      if (!type.is_output) continue;
      const std::byte* const from = area + elements_[i].start;
      if (!are_values_of(type.parts[0], from, elements_[i].count)) return bad;
      if (arguments_[i].kind() != value_kind::list) continue;
      auto list = decode_list(type.parts[0], from, elements_[i].count);
      if (!list) return bad;
      lists[i] = *std::move(list);
    }
    auto out = decode_value(types_.result, area);
    if (!out) return bad;
    for (std::size_t i = 0; i < arguments_.size(); ++i) {
      const shape& type = types_.arguments[i];
      if (!type.is_output || elements_[i].count == 0) continue;
      if (auto* const list = std::get_if<std::vector<value>>(&arguments_[i].held())) {
        *list = std::move(lists[i]);
      } else {
        std::memcpy(writable_elements(arguments_[i]), area + elements_[i].start,
                    elements_[i].count * type.parts[0].room.size);
      }
    }
    return *std::move(out);
  }

  const call_shape& types_;
  const std::span<value> arguments_;
  std::vector<elements> elements_;
  std::size_t used_ = 0;
  const result<void> checked_;  // Last, because place() writes to the others.
};

/// A function of a loaded image whose type is known at run time only.
template <class Machine>
struct dynamic_entry {
  using image = loaded_type<Machine>;
  using marshaller = value_marshaller;

  std::uint64_t address = 0;
  std::string_view name;
  call_shape types;
};

}  // namespace virtine::detail
