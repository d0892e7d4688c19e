// The packets of GDB's remote serial protocol, made and taken apart.
// Knows nothing of sockets or of what the packets ask for.
// SPDX-License-Identifier: MIT
#pragma once

#include <virtine/cxx20.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace virtine::gdb::detail {

/// The most bytes that a packet may have, without its frame; gdb is told and keeps to it.
inline constexpr std::size_t max_packet = 0x4000;

inline std::uint8_t checksum(std::string_view text) {
  unsigned sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  return static_cast<std::uint8_t>(sum);
}

inline void append_byte(std::string& out, std::uint8_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += digits[value >> 4];
  out += digits[value & 15];
}

/// Returns `bytes` with two hexadecimal digits for each.
inline std::string to_hex(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) append_byte(out, std::to_integer<std::uint8_t>(b));
  return out;
}
inline std::string to_hex(std::string_view text) {
  return to_hex(std::as_bytes(std::span(text)));
}

/// Takes a hexadecimal number off the front of `text`. Nothing is taken if there is none or it
/// does not fit.
inline std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (why != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// Takes `c` off the front of `text`; returns whether it was there.
inline bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

/// Writes what the digits of `text` stand for to `out`; returns whether they are as many as it
/// needs and all of them digits.
inline bool from_hex(std::string_view text, std::span<std::byte> out) {
  if (text.size() % 2 != 0 || text.size() / 2 != out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::string_view digits = text.substr(i * 2, 2);
    const auto value = take_number(digits);
    if (!value || !digits.empty()) return false;
    out[i] = static_cast<std::byte>(*value);
  }
  return true;
}

/// Returns `payload` in its frame, ready to be sent.
inline std::string to_packet(std::string_view payload) {
  std::string body;
  for (const char c : payload) {
    if (c == '$' || c == '#' || c == '}' || c == '*') {
      body += '}';
      body += static_cast<char>(c ^ 0x20);
    } else {
      body += c;
    }
  }
  std::string out = '$' + body + '#';
  append_byte(out, checksum(body));
  return out;
}

/// What a debugger has sent.
struct message {
  enum class kind : std::uint8_t {
    packet,     ///< `text` is what it says.
    interrupt,  ///< The guest is to stop.
    damaged,    ///< A packet that is to be sent again.
    again,      ///< Our last packet is to be sent again.
    too_long,   ///< More than max_packet bytes; nothing that follows can be understood.
  };
  kind what = kind::packet;
  std::string text = {};
};

/// Cuts a stream of bytes into messages. Keeps no more than a packet and what came with its end.
class packet_reader {
 public:
  void feed(std::string_view bytes) { bytes_ += bytes; }

  /// Returns the next message, if all of it has come.
  std::optional<message> next() {
    constexpr char interrupt = 3;
    std::size_t at = 0;
    while (at < bytes_.size() && bytes_[at] != '$' && bytes_[at] != '-' && bytes_[at] != interrupt)
      ++at;
    bytes_.erase(0, at);
    if (bytes_.empty()) return std::nullopt;
    if (bytes_.front() != '$') {
      const auto what = bytes_.front() == '-' ? message::kind::again : message::kind::interrupt;
      bytes_.erase(0, 1);
      return message{.what = what};
    }
    const std::size_t end = bytes_.find('#');
    if (std::min(end, bytes_.size()) > max_packet + 1)
      return message{.what = message::kind::too_long};
    if (end == std::string::npos || bytes_.size() - end < 3) return std::nullopt;
    const std::string body = bytes_.substr(1, end - 1);
    std::string_view digits = std::string_view(bytes_).substr(end + 1, 2);
    const auto sum = take_number(digits);
    const bool whole = sum && digits.empty() && *sum == checksum(body);
    bytes_.erase(0, end + 3);
    if (!whole) return message{.what = message::kind::damaged};
    return message{.text = body};
  }

 private:
  std::string bytes_;
};

}  // namespace virtine::gdb::detail
