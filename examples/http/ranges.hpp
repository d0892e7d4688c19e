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

#include "http.hpp"
#include "request.hpp"

namespace http {

/// What of a file is wanted.
struct part {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
};

/// How many ranges a field may have, and how many of them may be left when those that are close to
/// each other are put together. One with more is ignored, as it may be (14.2).
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

/// What a Range field asks for of a file, in the order in which it does.
class parts {
 public:
  /// Reads the field for a file of `size` bytes.
  parts(std::string_view range, std::uint64_t size) {
    constexpr std::string_view unit = "bytes=";
    if (!is_same(range.substr(0, unit.size()), unit)) return;
    range.remove_prefix(unit.size());
    std::size_t asked = 0;
    while (!range.empty()) {
      const std::string_view element = take_element(range);
      if (element.empty()) continue;
      const auto wanted = detail::parse_range(element, size);
      if (!wanted || ++asked > most_ranges) return;
      // The end of an empty file is all of it, for which there is no Content-Range.
      const bool is_end = element.front() == '-' && element.find_first_of("123456789") < size_max;
      if (size == 0 && is_end) return;
      if (wanted->size > 0) add(*wanted);
    }
    counts_ = asked > 0 && count_ <= most_parts;
  }

  /// Says whether the field counts: it is a set of ranges of bytes, and not of too many.
  [[nodiscard]] bool are_valid() const { return counts_; }
  /// Empty if there is nothing in the file of what is asked for.
  [[nodiscard]] std::span<const part> all() const { return std::span(parts_).first(count_); }

 private:
  static constexpr std::size_t size_max = std::string_view::npos;

  static bool is_close(const part& one, const part& other) {
    return one.begin <= other.begin + other.size + most_gap &&
           other.begin <= one.begin + one.size + most_gap;
  }

  /// Adds a part, together with those that it is close to, at the place of the first of them. As
  /// these were not close to any other, neither is what they become.
  void add(part added) {
    std::size_t place = count_;
    for (std::size_t i = 0; i < count_;) {
      if (!is_close(parts_[i], added)) {
        ++i;
        continue;
      }
      const std::uint64_t end =
          std::max(added.begin + added.size, parts_[i].begin + parts_[i].size);
      added.begin = std::min(added.begin, parts_[i].begin);
      added.size = end - added.begin;
      std::copy(parts_.begin() + i + 1, parts_.begin() + count_, parts_.begin() + i);
      --count_;
      place = std::min(place, i);
    }
    place = std::min(place, count_);
    std::copy_backward(parts_.begin() + place, parts_.begin() + count_,
                       parts_.begin() + count_ + 1);
    parts_[place] = added;
    ++count_;
  }

  std::array<part, most_ranges> parts_;
  std::size_t count_ = 0;
  bool counts_ = false;
};

}  // namespace http
