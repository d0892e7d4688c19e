// Values as the bytes of a type that is known at run time, and back. Checks both ways: what is
// written is a value of the type, and so is what is read. Knows nothing of where the bytes lie.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <virtine/value.hpp>
#include <virtine/value/shape.hpp>

namespace virtine::detail {

/// Says whether there is a long double in the type, which no value can be.
inline bool has_long_double(const shape& in) {
  if (in.kind == shape_kind::floating && in.room.size > sizeof(double)) return true;
  return std::any_of(in.parts.begin(), in.parts.end(), has_long_double);
}

/// Says whether every pattern of bytes is a value of an element's or a scalar's type. An enum is
/// its number here, and any number is one.
inline bool any_bytes_are_valid(const shape& of) {
  return of.kind == shape_kind::integer || of.kind == shape_kind::natural ||
         of.kind == shape_kind::floating || of.kind == shape_kind::object;
}

/// Returns whether the bytes at `from` are a value of type `as`.
inline bool is_value_of(const shape& as, const std::byte* from) {
  switch (as.kind) {
    case shape_kind::boolean:
      return std::to_integer<unsigned>(*from) <= 1;
    case shape_kind::bytes: {
      std::uint64_t size = 0;
      std::memcpy(&size, from, sizeof size);
      return size <= as.count;
    }
    default:
      return true;
  }
}
inline bool are_values_of(const shape& element, const std::byte* from, std::size_t count) {
  if (any_bytes_are_valid(element)) return true;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_value_of(element, from + i * element.room.size)) return false;
  }
  return true;
}

inline std::string text_of(wide_integer number) {
  return number.negative ? std::to_string(static_cast<std::int64_t>(number.bits))
                         : std::to_string(number.bits);
}

/// Returns what a message calls a value: its kind, and the number if it is one.
inline std::string describe(const value& it) {
  if (const auto* const number = std::get_if<wide_integer>(&it.held())) return text_of(*number);
  if (const auto* const number = std::get_if<double>(&it.held())) return std::to_string(*number);
  if (const auto* const flag = std::get_if<bool>(&it.held())) return *flag ? "true" : "false";
  if (const auto* const some = std::get_if<std::vector<value>>(&it.held())) {
    return "a list of " + std::to_string(some->size());
  }
  if (const auto* const some = std::get_if<borrowed_elements>(&it.held())) {
    const auto read = read_signature(std::string(some->id) + "()");
    return "a span of " + (read ? cpp_of(read->result) : "elements");
  }
  return name(it.kind());
}

/// Writes values to bytes; says what is wrong with one that is not of its type.
class value_encoder {
 public:
  /// Writes `from` as `as` to `to`, where there are zeros; checks it only if that is null.
  bool write(const shape& as, const value& from, std::byte* to) {
    switch (as.kind) {
      case shape_kind::boolean:
        return write_bool(as, from, to);
      case shape_kind::integer:
      case shape_kind::natural:
        return write_integer(as, from, to);
      case shape_kind::floating:
        return write_floating(as, from, to);
      case shape_kind::bytes:
      case shape_kind::object:
        return write_bytes(as, from, to);
      case shape_kind::tuple:
        return write_parts(as, from, as.parts.size(), to);
      case shape_kind::array:
        return write_parts(as, from, as.count, to);
      case shape_kind::optional:
        if (from.is_none()) return true;
        if (to != nullptr) to[0] = std::byte{1};
        return write(as.parts[0], from, value_of_sum(as, to));
      case shape_kind::variant:
        return write_variant(as, from, to);
      case shape_kind::nothing:
      case shape_kind::text:
      case shape_kind::span:
        break;
    }
    return is_not(from, as);
  }

  /// Returns how many elements `from` is as a span or a text; nothing if it is none.
  std::optional<std::size_t> count(const shape& as, const value& from) {
    const std::size_t size = as.kind == shape_kind::text ? 1 : as.parts[0].room.size;
    if (const auto* const some = std::get_if<std::vector<value>>(&from.held())) {
      if (as.kind == shape_kind::span) return some->size();
    } else if (const auto raw = from.as<std::span<const std::byte>>(); raw && fits(as, from)) {
      if (raw->size() % size == 0) return raw->size() / size;
      says(std::to_string(raw->size()) + " bytes are not a number of elements of " +
           std::to_string(size) + " bytes");
      return std::nullopt;
    }
    is_not(from, as);
    return std::nullopt;
  }

  /// Writes the elements of a span or text that has `count` of them.
  bool write_elements(const shape& as, const value& from, std::size_t count, std::byte* to) {
    const auto* const some = std::get_if<std::vector<value>>(&from.held());
    if (some != nullptr) {
      const shape& element = as.parts[0];
      for (std::size_t i = 0; i < count; ++i) {
        if (!write(element, (*some)[i], to == nullptr ? nullptr : to + i * element.room.size)) {
          return within("element", i);
        }
      }
      return true;
    }
    const auto raw = from.as<std::span<const std::byte>>();
    if (!raw || raw->empty()) return true;
    if (as.kind == shape_kind::span && !are_values_of(as.parts[0], raw->data(), count)) {
      return says("its bytes are not all of them values of " + cpp_of(as.parts[0]));
    }
    if (to != nullptr) std::memcpy(to, raw->data(), raw->size());
    return true;
  }

  /// Returns what was wrong.
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  bool says(std::string why) {
    why_ = std::move(why);
    return false;
  }
  bool is_not(const value& from, const shape& as) {
    return says(describe(from) + " is not " + cpp_of(as));
  }
  bool within(const char* part, std::size_t index) {
    return says(std::string(part) + ' ' + std::to_string(index) + ": " + why_);
  }

  template <class T>
  static bool put(std::byte* to, const T& number) {
    if (to != nullptr) std::memcpy(to, &number, sizeof number);
    return true;
  }

  bool write_bool(const shape& as, const value& from, std::byte* to) {
    std::optional<bool> flag = from.as<bool>();
    if (!flag && as.is_enum) {
      if (const auto number = from.as<unsigned>(); number && *number <= 1) flag = *number == 1;
    }
    return flag ? put(to, static_cast<unsigned char>(*flag)) : is_not(from, as);
  }

  bool write_integer(const shape& as, const value& from, std::byte* to) {
    const auto* const number = std::get_if<wide_integer>(&from.held());
    if (number == nullptr) return is_not(from, as);
    const bool is_signed = as.kind == shape_kind::integer;
    const std::uint64_t all = ~std::uint64_t{0} >> (64 - 8 * as.room.size);
    const std::uint64_t most = is_signed ? all >> 1 : all;
    // Of a negative number, how far it is below -1.
    const bool good = number->negative ? is_signed && ~number->bits <= most : number->bits <= most;
    if (!good) {
      return says(text_of(*number) + " is not " + cpp_of(as) + ", which is from " +
                  (is_signed ? text_of({~most, true}) : "0") + " to " + text_of({most, false}));
    }
    if (to != nullptr) std::memcpy(to, &number->bits, as.room.size);  // Little-endian.
    return true;
  }

  bool write_floating(const shape& as, const value& from, std::byte* to) {
    std::optional<double> number = from.as<double>();
    if (const auto* const whole = std::get_if<wide_integer>(&from.held())) {
      const double as_double = whole->negative
                                   ? static_cast<double>(static_cast<std::int64_t>(whole->bits))
                                   : static_cast<double>(whole->bits);
      constexpr double exact = 1LL << std::numeric_limits<double>::digits;
      if (std::abs(as_double) > exact) {
        return says(text_of(*whole) + " has more digits than " + cpp_of(as));
      }
      number = as_double;
    }
    if (!number) return is_not(from, as);
    if (as.room.size == sizeof(double)) return put(to, *number);
    if (std::isfinite(*number) && std::abs(*number) > double{std::numeric_limits<float>::max()}) {
      return says(std::to_string(*number) + " is too large for " + cpp_of(as));
    }
    return put(to, static_cast<float>(*number));
  }

  /// virtine::bytes<N>, or an object.
  bool write_bytes(const shape& as, const value& from, std::byte* to) {
    const auto raw = from.as<std::span<const std::byte>>();
    if (!raw) return is_not(from, as);
    const bool is_object = as.kind == shape_kind::object;
    if (is_object ? raw->size() != as.room.size : raw->size() > as.count) {
      return says(std::to_string(raw->size()) + " bytes are not " + cpp_of(as));
    }
    if (to == nullptr) return true;
    if (!is_object) {
      put(to, std::uint64_t{raw->size()});
      to += sizeof(std::uint64_t);
    }
    if (!raw->empty()) std::memcpy(to, raw->data(), raw->size());
    return true;
  }

  /// The parts of a tuple, the elements of an array.
  bool write_parts(const shape& as, const value& from, std::size_t count, std::byte* to) {
    const auto some = from.as<std::span<const value>>();
    if (!some || some->size() != count) return is_not(from, as);
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_tuple = as.kind == shape_kind::tuple;
      const shape& part = as.parts[is_tuple ? i : 0];
      const std::size_t at = is_tuple ? as.places[i] : i * part.room.size;
      if (!write(part, (*some)[i], to == nullptr ? nullptr : to + at)) return within("part", i);
    }
    return true;
  }

  /// A list of the alternative's number, from 0, and its value.
  bool write_variant(const shape& as, const value& from, std::byte* to) {
    const auto some = from.as<std::span<const value>>();
    const auto index = some && some->size() == 2 ? (*some)[0].as<std::size_t>() : std::nullopt;
    if (!index || *index >= as.parts.size()) {
      return says(describe(from) + " is not the number of an alternative, and its value, of " +
                  cpp_of(as));
    }
    if (to != nullptr) to[0] = static_cast<std::byte>(*index);
    return write(as.parts[*index], (*some)[1], value_of_sum(as, to)) ||
           within("alternative", *index);
  }

  static std::byte* value_of_sum(const shape& as, std::byte* to) {
    return to == nullptr ? nullptr : to + as.room.alignment;
  }

  /// Says whether what lies in `from` as bytes can be the elements: a span of numbers of another
  /// type cannot, nor can a text unless the elements are characters.
  static bool fits(const shape& as, const value& from) {
    const bool is_text = as.kind == shape_kind::text;
    const shape* const element = is_text ? nullptr : as.parts.data();
    const bool is_characters =
        is_text || (element->room.size == 1 &&
                    (element->kind == shape_kind::integer || element->kind == shape_kind::natural));
    if (from.kind() == value_kind::text) return is_characters;
    const auto* const span = std::get_if<borrowed_elements>(&from.held());
    if (span == nullptr || span->id == element_id<std::byte>.view()) return true;
    if (is_text) return span->id == element_id<char>.view();
    return span->id == element->id.substr(element->is_enum ? 1 : 0);
  }

  std::string why_;
};

/// Returns the value of type `as` that the bytes at `from` are; nothing if they are none.
inline std::optional<value> decode_value(const shape& as, const std::byte* from) {
  if (!is_value_of(as, from)) return std::nullopt;
  const auto parts = [&](std::size_t count) -> std::optional<value> {
    std::vector<value> out;
    for (std::size_t i = 0; i < count; ++i) {
      const bool is_tuple = as.kind == shape_kind::tuple;
      const shape& part = as.parts[is_tuple ? i : 0];
      auto one = decode_value(part, from + (is_tuple ? as.places[i] : i * part.room.size));
      if (!one) return std::nullopt;
      out.push_back(*std::move(one));
    }
    return value(std::move(out));
  };
  switch (as.kind) {
    case shape_kind::boolean:
      return value(from[0] == std::byte{1});
    case shape_kind::integer: {
      std::int64_t number = 0;
      std::memcpy(&number, from, as.room.size);
      const std::size_t unused = 64 - 8 * as.room.size;
      // The sign's bit to the top and back.
      return value(static_cast<std::int64_t>(static_cast<std::uint64_t>(number) << unused) >>
                   unused);
    }
    case shape_kind::natural: {
      std::uint64_t number = 0;
      std::memcpy(&number, from, as.room.size);
      return value(number);
    }
    case shape_kind::floating: {
      if (as.room.size == sizeof(float)) {
        float number = 0;
        std::memcpy(&number, from, sizeof number);
        return value(number);
      }
      double number = 0;
      std::memcpy(&number, from, sizeof number);
      return value(number);
    }
    case shape_kind::bytes: {
      std::uint64_t size = 0;
      std::memcpy(&size, from, sizeof size);
      return value::bytes({from + sizeof size, size});
    }
    case shape_kind::object:
      return value::bytes({from, as.room.size});
    case shape_kind::tuple:
      return parts(as.parts.size());
    case shape_kind::array:
      return parts(as.count);
    case shape_kind::optional:
      if (from[0] == std::byte{0}) return value();
      if (from[0] != std::byte{1}) return std::nullopt;
      return decode_value(as.parts[0], from + as.room.alignment);
    case shape_kind::variant: {
      const auto index = std::to_integer<std::size_t>(from[0]);
      if (index >= as.parts.size()) return std::nullopt;
      auto held = decode_value(as.parts[index], from + as.room.alignment);
      if (!held) return std::nullopt;
      std::vector<value> out{index};
      out.push_back(*std::move(held));
      return value(std::move(out));
    }
    case shape_kind::nothing:
    case shape_kind::text:
    case shape_kind::span:
      break;
  }
  return value();
}

/// Returns the elements at `from` as a list; nothing if one is not a value of its type.
inline std::optional<std::vector<value>> decode_list(const shape& element, const std::byte* from,
                                                     std::size_t count) {
  std::vector<value> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    auto one = decode_value(element, from + i * element.room.size);
    if (!one) return std::nullopt;
    out.push_back(*std::move(one));
  }
  return out;
}

}  // namespace virtine::detail
