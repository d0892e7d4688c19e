// The types of a signature that is known at run time only: reading signature ids, how their types
// lie in a call frame (by the functions of abi/composite.hpp), and their names in C++.
// Trusts no text: an image file may have any. Knows nothing of values.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/abi/composite.hpp>
#include <virtine/abi/frame.hpp>
#include <virtine/abi/signature.hpp>

namespace virtine::detail {

enum class shape_kind : std::uint8_t {
  nothing,   ///< void
  boolean,   ///< bool
  integer,   ///< signed
  natural,   ///< unsigned
  floating,  ///< float, double, long double
  text,      ///< std::string_view
  span,      ///< std::span
  bytes,     ///< virtine::bytes<N>
  tuple,     ///< std::pair and std::tuple
  optional,  ///< std::optional
  variant,   ///< std::variant
  array,     ///< std::array of the three above, or of such arrays
  object,    ///< any other type: its bytes
};

/// A type of a signature, with its parts.
struct shape {
  shape_kind kind = shape_kind::nothing;
  bool is_enum = false;
  bool is_output = false;                ///< Of a span: whether it is copied back.
  extent room = {};                      ///< In a frame.
  std::size_t count = 0;                 ///< Elements of an array, the most that bytes hold.
  std::size_t leaves = 1;                ///< How many values it consists of.
  std::string_view id = {};              ///< Its part of the signature's text.
  std::vector<shape> parts = {};         ///< Of a span and an array: the element.
  std::vector<std::size_t> places = {};  ///< Where the parts of a tuple lie.

  [[nodiscard]] bool is_sequence() const {
    return kind == shape_kind::text || kind == shape_kind::span;
  }
  /// As is_composite<T>.
  [[nodiscard]] bool is_composite() const {
    return kind == shape_kind::tuple || kind == shape_kind::optional ||
           kind == shape_kind::variant || kind == shape_kind::array;
  }
};

/// The types of a function, and its call frame.
struct call_shape {
  shape result;
  std::vector<shape> arguments;
  std::vector<std::size_t> places;  ///< Of the arguments, in the frame.
  std::size_t size = 0;             ///< Of the frame, without elements.
};

/// Reads a signature id. No text makes it use more than a bounded amount of time, memory and stack:
/// the text is short, all sizes are bounded, and nothing is made of a count.
class signature_reader {
 public:
  /// Returns the types of the signature `text`, which must outlive them, or nothing if it is none.
  static std::optional<call_shape> read(std::string_view text) {
    if (text.size() > id_text{}.chars.size()) return std::nullopt;
    signature_reader reader(text);
    call_shape out;
    out.result = reader.read_type(true);
    if (out.result.is_sequence()) return std::nullopt;
    reader.expect('(');
    if (!reader.skip(')')) {
      do {
        out.arguments.push_back(reader.read_type(false));
      } while (reader.good_ && reader.skip(','));
      reader.expect(')');
    }
    if (!reader.good_ || !reader.rest_.empty()) return std::nullopt;
    std::vector<extent> rooms;
    for (const shape& each : out.arguments) rooms.push_back(each.room);
    out.places.resize(rooms.size());
    out.size = place_arguments(out.result.room.size, rooms, out.places);
    return out;
  }

 private:
  // What no type exceeds. Sums of as many of them as a text can name do not wrap.
  static constexpr std::size_t max_size = std::size_t{1} << 32;
  static constexpr std::size_t max_leaves = 1 << 16;

  explicit signature_reader(std::string_view text) : rest_(text) {}

  bool skip(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) { good_ = skip(c) && good_; }

  /// Reads a number as the compiler writes it: without leading zeros.
  std::size_t read_number() {
    std::size_t out = 0, digits = 0;
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9' && out < max_size) {
      if (digits++ > 0 && out == 0) good_ = false;
      out = out * 10 + static_cast<std::size_t>(rest_[0] - '0');
      rest_.remove_prefix(1);
    }
    if (digits == 0 || out > max_size) good_ = false;
    return good_ ? out : 0;
  }

  shape read_type(bool is_result) {
    const std::string_view from = rest_;
    shape out;
    if (!rest_.empty()) {
      const char c = rest_[0];
      if (c < '0' || c > '9') rest_.remove_prefix(1);
      out = read_after(c, is_result);
    } else {
      good_ = false;
    }
    if (out.room.size > max_size || out.leaves > max_leaves) good_ = false;
    out.id = from.substr(0, from.size() - rest_.size());
    return out;
  }

  /// A type that can be a part of another.
  shape read_part() {
    shape out = read_type(false);
    if (out.is_sequence()) good_ = false;
    return out;
  }

  shape read_after(char c, bool is_result) {
    switch (c) {
      case 'v':
        good_ = good_ && is_result;
        return {.room = {0, 1}};
      case 'b':
        return {.kind = shape_kind::boolean, .room = {1, 1}};
      case 'i':
        return read_scalar(shape_kind::integer, 1, 8);
      case 'u':
        return read_scalar(shape_kind::natural, 1, 8);
      case 'f':
        return read_scalar(shape_kind::floating, 4, 16);
      case 'e': {
        shape out = read_part();
        good_ = good_ && !out.is_enum &&
                (out.kind == shape_kind::boolean || out.kind == shape_kind::integer ||
                 out.kind == shape_kind::natural);
        out.is_enum = true;
        return out;
      }
      case 's':
        return {.kind = shape_kind::text, .room = reference};
      case '[': {
        shape out{.kind = shape_kind::span, .is_output = skip('='), .room = reference};
        out.parts.push_back(read_part());
        good_ = good_ && !out.parts[0].is_composite();
        expect(']');
        return out;
      }
      case 'y': {
        const std::size_t most = read_number();
        good_ = good_ && most > 0;
        return {.kind = shape_kind::bytes,
                .room = {sizeof(std::uint64_t) + align_up(most, alignof(std::uint64_t)),
                         alignof(std::uint64_t)},
                .count = most};
      }
      case '<':
        return rest_.starts_with('|') ? read_variant() : read_tuple();
      case 'o': {
        shape out{.kind = shape_kind::optional};
        out.parts.push_back(read_part());
        add_leaves(out);
        out.room = extent_of_sum(std::array{out.parts[0].room});
        return out;
      }
      case '{': {
        const std::size_t size = read_number();
        expect('.');
        const std::size_t alignment = read_number();
        expect('}');
        good_ = good_ && size > 0 && std::has_single_bit(alignment) &&
                alignment <= frame_alignment && size % alignment == 0;
        return {.kind = shape_kind::object, .room = {size, good_ ? alignment : 1}};
      }
      default:
        return read_array();
    }
  }

  /// A number whose size, a power of two, follows.
  shape read_scalar(shape_kind kind, std::size_t least, std::size_t most) {
    const std::size_t size = read_number();
    good_ = good_ && size >= least && size <= most && std::has_single_bit(size);
    return {.kind = kind, .room = {size, good_ ? size : 1}};
  }

  shape read_array() {
    const std::size_t count = read_number();
    expect('*');
    shape out{.kind = shape_kind::array, .count = count};
    out.parts.push_back(good_ ? read_part() : shape{});
    const shape& element = out.parts[0];
    good_ = good_ && count > 0 && element.is_composite() && element.leaves <= max_leaves / count &&
            element.room.size <= max_size / count;
    if (!good_) return out;
    out.leaves = element.leaves * count;
    out.room = {element.room.size * count, element.room.alignment};
    return out;
  }

  shape read_tuple() {
    shape out{.kind = shape_kind::tuple};
    if (!skip('>')) {
      do {
        out.parts.push_back(read_part());
      } while (good_ && skip(','));
      expect('>');
    }
    add_leaves(out);
    out.places.resize(out.parts.size());
    out.room = place_product(rooms_of(out), out.places);
    return out;
  }

  shape read_variant() {
    shape out{.kind = shape_kind::variant};
    while (good_ && skip('|')) out.parts.push_back(read_part());
    expect('>');
    add_leaves(out);
    out.room = extent_of_sum(rooms_of(out));
    return out;
  }

  static void add_leaves(shape& of) {
    for (const shape& each : of.parts) of.leaves += each.leaves;
  }
  static std::vector<extent> rooms_of(const shape& of) {
    std::vector<extent> out;
    for (const shape& each : of.parts) out.push_back(each.room);
    return out;
  }

  static constexpr extent reference{sizeof(sequence_reference), alignof(sequence_reference)};

  std::string_view rest_;
  bool good_ = true;
};

/// Returns the types of the signature `text`, which must outlive them, or nothing if it is none.
inline std::optional<call_shape> read_signature(std::string_view text) {
  return signature_reader::read(text);
}

/// Returns the name of an integer or floating-point type in C++.
inline const char* number_name(shape_kind kind, std::size_t size) {
  const bool is_signed = kind == shape_kind::integer;
  if (kind == shape_kind::floating)
    return size == 4 ? "float" : size == 8 ? "double" : "long double";
  switch (size) {
    case 1:
      return is_signed ? "signed char" : "unsigned char";
    case 2:
      return is_signed ? "short" : "unsigned short";
    case 4:
      return is_signed ? "int" : "unsigned";
    default:
      return is_signed ? "long" : "unsigned long";
  }
}

inline void append_cpp(std::string& out, const shape& of);

inline void append_parts(std::string& out, const shape& of) {
  const char* between = "";
  for (const shape& each : of.parts) {
    out += std::exchange(between, ", ");
    append_cpp(out, each);
  }
  out += '>';
}

/// Appends the type as C++ has it, as far as its id tells.
inline void append_cpp(std::string& out, const shape& of) {
  if (of.is_enum) out += "enum : ";
  switch (of.kind) {
    case shape_kind::nothing:
      out += "void";
      break;
    case shape_kind::boolean:
      out += "bool";
      break;
    case shape_kind::integer:
    case shape_kind::natural:
    case shape_kind::floating:
      out += number_name(of.kind, of.room.size);
      break;
    case shape_kind::text:
      out += "std::string_view";
      break;
    case shape_kind::span:
      out += of.is_output ? "std::span<" : "std::span<const ";
      append_parts(out, of);
      break;
    case shape_kind::bytes:
      out += "virtine::bytes<" + std::to_string(of.count) + '>';
      break;
    case shape_kind::tuple:
      out += "std::tuple<";
      append_parts(out, of);
      break;
    case shape_kind::optional:
      out += "std::optional<";
      append_parts(out, of);
      break;
    case shape_kind::variant:
      out += "std::variant<";
      append_parts(out, of);
      break;
    case shape_kind::array:
      out += "std::array<";
      append_cpp(out, of.parts[0]);
      out += ", " + std::to_string(of.count) + '>';
      break;
    case shape_kind::object:
      out += "struct of " + std::to_string(of.room.size) + " bytes";
      if (of.room.alignment > 1) out += " aligned to " + std::to_string(of.room.alignment);
      break;
  }
}

inline std::string cpp_of(const shape& of) {
  std::string out;
  append_cpp(out, of);
  return out;
}

}  // namespace virtine::detail

namespace virtine {

/// Returns the signature `id`, as docs/guest-abi.md has it, as C++: "i4(s)" is
/// "int(std::string_view)". Enums and structs have lost their names. What is no signature is
/// returned as it is.
inline std::string signature_as_cpp(std::string_view id) {
  const auto read = detail::read_signature(id);
  if (!read) return std::string(id);
  std::string out;
  detail::append_cpp(out, read->result);
  out += '(';
  const char* between = "";
  for (const detail::shape& each : read->arguments) {
    out += std::exchange(between, ", ");
    detail::append_cpp(out, each);
  }
  return out + ')';
}

}  // namespace virtine
