// The Range field (RFC 9110, section 14): what of a file it asks for.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "request.hpp"

namespace http {

/// What of a file is wanted.
struct part {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
};

/// How many ranges a field may have. One with more is ignored, as it may be (14.2).
inline constexpr std::size_t most_ranges = 16;

/// Ranges are put together over gaps of this size: about what the head of another part would be
/// (15.3.7.2).
inline constexpr std::uint64_t most_gap = 80;

namespace detail {

/// Takes a number off `text`, without zeros before it. Returns an empty text if there is none.
inline std::string_view take_number(std::string_view& text) {
  std::size_t size = 0;
  while (size < text.size() && is_digit(text[size])) ++size;
  std::string_view number = text.substr(0, size);
  text.remove_prefix(size);
  while (number.size() > 1 && number.front() == '0') number.remove_prefix(1);
  return number;
}

/// The value of a number; the largest one if it is larger.
inline std::uint64_t value_of(std::string_view number) {
  std::uint64_t value = 0;
  for (const char each : number) {
    const auto digit = static_cast<std::uint64_t>(each - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  return value;
}

/// What a range asks for of `size` bytes: an empty part if there is nothing of it, nothing if it is
/// no range.
inline std::optional<part> parse_range(std::string_view text, std::uint64_t size) {
  const std::string_view first = take_number(text);
  if (!text.starts_with('-')) return std::nullopt;
  text.remove_prefix(1);
  const std::string_view last = take_number(text);
  if (!text.empty() || (first.empty() && last.empty())) return std::nullopt;
  if (first.empty()) {
    const std::uint64_t length = std::min(value_of(last), size);
    return part{size - length, length};
  }
  // As texts: numbers too large for any type are in order, or not, all the same.
  if (!last.empty() &&
      (last.size() < first.size() || (last.size() == first.size() && last < first))) {
    return std::nullopt;
  }
  const std::uint64_t begin = value_of(first);
  if (begin >= size) return part{};
  const std::uint64_t end = last.empty() ? size - 1 : std::min(value_of(last), size - 1);
  return part{begin, end - begin + 1};
}

}  // namespace detail

/// Finds the one part of a file of `size` bytes that a Range field asks for: an empty one if there
/// is nothing of what it asks for. Nothing if the field is to be ignored: it is no set of ranges of
/// bytes; or these are too many, or too far from each other to be one part.
inline std::optional<part> find_part(std::string_view range, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  if (!is_same(range.substr(0, unit.size()), unit)) return std::nullopt;
  range.remove_prefix(unit.size());
  std::array<part, most_ranges> room;
  std::size_t asked = 0;
  std::size_t count = 0;
  while (!range.empty()) {
    const std::string_view element = take_element(range);
    if (element.empty()) continue;
    const auto wanted = detail::parse_range(element, size);
    if (!wanted || ++asked > room.size()) return std::nullopt;
    // The end of an empty file is all of it, for which there is no Content-Range.
    if (size == 0 && element.front() == '-' && element.find_first_of("123456789") != element.npos) {
      return std::nullopt;
    }
    if (wanted->size > 0) room[count++] = *wanted;
  }
  if (asked == 0) return std::nullopt;
  if (count == 0) return part{};
  const std::span<part> parts = std::span(room).first(count);
  std::ranges::sort(parts, {}, &part::begin);
  part all = parts.front();
  for (const part& each : parts) {
    const std::uint64_t end = all.begin + all.size;
    if (each.begin > end && each.begin - end > most_gap) return std::nullopt;
    all.size = std::max(end, each.begin + each.size) - all.begin;
  }
  return all;
}

}  // namespace http
