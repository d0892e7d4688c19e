// JSON as values and back. Bytes that are no text are {"hex": "00ff"}.
// Knows nothing of signatures.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <virtine/value.hpp>

namespace json {

/// Returns how many bytes the UTF-8 sequence at the begin of `text` has; 0 if there is none.
inline std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return text.empty() ? 0 : 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  // Overlong, a surrogate, or beyond Unicode.
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
      (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) {
    return 0;
  }
  return length;
}

inline bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

inline void append_utf8(std::string& out, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xc0 | point >> 6);
  } else {
    if (point < 0x10000) {
      put(0xe0 | point >> 12);
    } else {
      put(0xf0 | point >> 18);
      put(0x80 | (point >> 12 & 0x3f));
    }
    put(0x80 | (point >> 6 & 0x3f));
  }
  put(0x80 | (point & 0x3f));
}

/// Returns the bytes that hexadecimal digits stand for, or nothing.
inline std::optional<std::vector<std::byte>> from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    unsigned byte = 0;
    const char* const end = digits.data() + i + 2;
    const auto read = std::from_chars(digits.data() + i, end, byte, 16);
    if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
    out.push_back(static_cast<std::byte>(byte));
  }
  return out;
}

/// Reads one JSON text.
class reader {
 public:
  explicit reader(std::string_view text) : text_(text) {}

  /// Returns what the text is. If it is nothing, problem() says why.
  std::optional<virtine::value> read() {
    auto out = read_value(0);
    if (!out) return out;
    skip_space();
    if (at_ != text_.size()) return fails("there is more behind its end");
    return out;
  }

  [[nodiscard]] std::string problem() const {
    return "this is not JSON, at character " + std::to_string(at_ + 1) + ": " + problem_;
  }

 private:
  static constexpr int max_depth = 100;

  std::nullopt_t fails(const char* why) {
    if (problem_ == nullptr) problem_ = why;
    return std::nullopt;
  }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  bool skip(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  std::optional<virtine::value> read_value(int depth) {
    if (depth > max_depth) return fails("its arrays are too deep");
    skip_space();
    if (skip("null")) return virtine::value();
    if (skip("true")) return virtine::value(true);
    if (skip("false")) return virtine::value(false);
    if (skip("\"")) return read_text();
    if (skip("[")) return read_array(depth);
    if (skip("{")) return read_bytes();
    return read_number();
  }

  std::optional<virtine::value> read_array(int depth) {
    std::vector<virtine::value> out;
    skip_space();
    if (skip("]")) return virtine::value(std::move(out));
    for (;;) {
      auto one = read_value(depth + 1);
      if (!one) return one;
      out.push_back(*std::move(one));
      skip_space();
      if (skip("]")) return virtine::value(std::move(out));
      if (!skip(",")) return fails("here should be a comma or ]");
    }
  }

  std::optional<virtine::value> read_bytes() {
    const auto next = [&](std::string_view word) { return skip_space(), skip(word); };
    if (!next("\"hex\"") || !next(":") || !next("\"")) {
      return fails("the only object there is, of bytes, is {\"hex\": \"00ff\"}");
    }
    const auto text = read_text();
    if (!text) return text;
    auto bytes = from_hex(*text->as<std::string_view>());
    if (!bytes) return fails("these are not pairs of hexadecimal digits");
    if (!next("}")) return fails("here should be }");
    return virtine::value(*std::move(bytes));
  }

  std::optional<std::uint32_t> read_four_digits() {
    std::uint32_t out = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
    if (digits.size() < 4 || read.ptr != digits.data() + 4) return std::nullopt;
    at_ += 4;
    return out;
  }

  std::optional<virtine::value> read_text() {
    std::string out;
    for (;;) {
      const std::size_t length = utf8_length(text_.substr(at_));
      if (length == 0) return fails("a text does not end, or is not UTF-8");
      const char c = text_[at_];
      if (static_cast<unsigned char>(c) < 0x20) return fails("a control character is in a text");
      if (c != '\\') {
        out += text_.substr(at_, length);
        at_ += length;
        if (c != '"') continue;
        out.pop_back();
        return virtine::value(std::move(out));
      }
      ++at_;
      constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
      const std::size_t found = at_ < text_.size() ? names.find(text_[at_]) : names.npos;
      if (found != names.npos) {
        ++at_;
        out += meanings[found];
        continue;
      }
      auto point = skip("u") ? read_four_digits() : std::nullopt;
      if (point && *point >= 0xd800 && *point < 0xdc00) {
        const auto low = skip("\\u") ? read_four_digits() : std::nullopt;
        const bool good = low && *low >= 0xdc00 && *low < 0xe000;
        if (!good) return fails("half of a character is missing");
        point = 0x10000 + ((*point - 0xd800) << 10) + (*low - 0xdc00);
      }
      if (!point || (*point >= 0xdc00 && *point < 0xe000)) return fails("no such escape");
      append_utf8(out, *point);
    }
  }

  std::optional<virtine::value> read_number() {
    const std::size_t end = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
    const std::string_view digits = text_.substr(at_, end - at_);
    // As JSON has them: no plus sign, no leading zero, digits on both sides of the point.
    const std::string_view unsigned_digits = digits.substr(digits.starts_with('-') ? 1 : 0);
    const auto is_digit = [&](std::size_t i) {
      return i < unsigned_digits.size() && unsigned_digits[i] >= '0' && unsigned_digits[i] <= '9';
    };
    const std::size_t point = unsigned_digits.find('.');
    if (!is_digit(0) || (unsigned_digits[0] == '0' && is_digit(1)) ||
        (point != unsigned_digits.npos && !is_digit(point + 1))) {
      return fails("here should be a value");
    }
    std::optional<virtine::value> out;
    const auto convert = [&](auto number) {
      const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
      if (read.ec == std::errc() && read.ptr == digits.data() + digits.size()) out = number;
    };
    if (digits.find_first_of(".eE") != digits.npos) {
      convert(double{});
    } else if (digits.starts_with('-')) {
      convert(std::int64_t{});
    } else {
      convert(std::uint64_t{});
    }
    if (!out) return fails("this number is out of range");
    at_ = end;
    return out;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  const char* problem_ = nullptr;
};

/// Appends a text, in which no character is left that controls a terminal.
inline void append_text(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](std::size_t at) {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
    };
    // From U+0080 to U+009F they have two bytes.
    const bool is_long = byte(i) == 0xc2 && byte(i + 1) >= 0x80 && byte(i + 1) < 0xa0;
    if (text[i] == '"' || text[i] == '\\') {
      out += '\\';
      out += text[i];
    } else if (text[i] == '\n') {
      out += "\\n";
    } else if (byte(i) < 0x20 || byte(i) == 0x7f || is_long) {
      i += is_long ? 1 : 0;
      out += "\\u00";
      out += digits[byte(i) >> 4];
      out += digits[byte(i) & 15];
    } else {
      out += text[i];
    }
  }
  out += '"';
}

inline void append_bytes(std::string& out, std::span<const std::byte> bytes) {
  // Sound: bytes are characters.
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_utf8(text)) return append_text(out, text);
  constexpr std::string_view digits = "0123456789abcdef";
  out += "{\"hex\": \"";
  for (const std::byte each : bytes) {
    out += digits[std::to_integer<std::size_t>(each) >> 4];
    out += digits[std::to_integer<std::size_t>(each) & 15];
  }
  out += "\"}";
}

/// Appends a value as JSON. A number that JSON does not have is a text: "inf", "nan".
inline void append(std::string& out, const virtine::value& it) {
  if (it.is_none()) {
    out += "null";
  } else if (const auto flag = it.as<bool>()) {
    out += *flag ? "true" : "false";
  } else if (const auto natural = it.as<std::uint64_t>()) {
    out += std::to_string(*natural);
  } else if (const auto integer = it.as<std::int64_t>()) {
    out += std::to_string(*integer);
  } else if (const auto number = it.as<double>()) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), *number).ptr;
    const std::string_view text(digits.data(), static_cast<std::size_t>(end - digits.data()));
    if (std::isfinite(*number)) {
      out += text;
      if (text.find_first_of(".e") == text.npos) out += ".0";
    } else {
      append_text(out, text);
    }
  } else if (const auto list = it.as<std::span<const virtine::value>>()) {
    out += '[';
    const char* between = "";
    for (const virtine::value& each : *list) {
      out += std::exchange(between, ", ");
      append(out, each);
    }
    out += ']';
  } else if (const auto bytes = it.as<std::span<const std::byte>>()) {
    append_bytes(out, *bytes);
  }
}

}  // namespace json
