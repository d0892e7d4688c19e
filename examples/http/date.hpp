// Dates as HTTP writes them, and as it has to read them (RFC 9110, 5.6.7).
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "text.hpp"

namespace http {

namespace detail {

inline constexpr std::string_view day_names = "SunMonTueWedThuFriSat";
inline constexpr std::string_view month_names = "JanFebMarAprMayJunJulAugSepOctNovDec";

/// A day of the Gregorian calendar, which goes on before it was made; months from 1.
struct calendar_day {
  std::int64_t year = 0;
  std::int64_t month = 0;
  std::int64_t day = 0;
  auto operator<=>(const calendar_day&) const = default;
};

// Both count in eras of 400 years, which all have 146097 days, and in years that begin in March, so
// that a leap day is the last one of its year. The first of March of the year 0 is 719468 days
// before 1970.

/// `days` since 1970, from the year 0 on.
constexpr calendar_day to_calendar(std::int64_t days) {
  const std::int64_t shifted = days + 719468 + 146097;
  const std::int64_t of_era = shifted % 146097;
  const std::int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const std::int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  const std::int64_t month = (5 * of_year + 2) / 153;
  return {.year = year + shifted / 146097 * 400 - 400 + (month >= 10 ? 1 : 0),
          .month = (month + 2) % 12 + 1,
          .day = of_year - (153 * month + 2) / 5 + 1};
}

/// The days since 1970, for the year 0 and later ones.
constexpr std::int64_t from_calendar(const calendar_day& of) {
  const std::int64_t month = (of.month + 9) % 12;
  const std::int64_t shifted = of.year + 400 - (month >= 10 ? 1 : 0);
  const std::int64_t year = shifted % 400;
  const std::int64_t of_year = (153 * month + 2) / 5 + of.day - 1;
  return shifted / 400 * 146097 + 365 * year + year / 4 - year / 100 + of_year - 719468 - 146097;
}

/// Reads a date from its begin to its end; remembers whether all was as it had to be.
class date_reader {
 public:
  explicit date_reader(std::string_view text) : rest_(text) {}

  date_reader& text(std::string_view wanted) {
    good_ = good_ && rest_.starts_with(wanted);
    if (good_) rest_.remove_prefix(wanted.size());
    return *this;
  }
  /// Reads a number of so many digits.
  date_reader& number(std::size_t width, std::int64_t& to) {
    good_ = good_ && rest_.size() >= width;
    for (to = 0; good_ && width > 0; --width) {
      const char digit = rest_.front();
      good_ = digit >= '0' && digit <= '9';
      to = to * 10 + (digit - '0');
      rest_.remove_prefix(1);
    }
    return *this;
  }
  /// Reads one of `names`, of three letters each; the first is 1.
  date_reader& name(std::string_view names, std::int64_t& to) {
    for (to = 1; good_ && !names.empty(); names.remove_prefix(3), ++to) {
      if (rest_.starts_with(names.substr(0, 3))) return text(names.substr(0, 3));
    }
    good_ = false;
    return *this;
  }

  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] bool is_at_end() const { return good_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

struct read_time {
  std::int64_t hour = 0;
  std::int64_t minute = 0;
  std::int64_t second = 0;
};

inline date_reader& take_time(date_reader& from, read_time& to) {
  return from.number(2, to.hour).text(":").number(2, to.minute).text(":").number(2, to.second);
}

/// The seconds since 1970; nothing if there is no such time.
inline std::optional<std::int64_t> to_seconds(const calendar_day& day, const read_time& time) {
  // A leap second is always the last one of a day.
  const bool leaps = time.hour == 23 && time.minute == 59 && time.second == 60;
  if (time.hour > 23 || time.minute > 59 || (time.second > 59 && !leaps)) return std::nullopt;
  // A day that its month does not have is one of the next.
  if (day.day < 1 || day.day > 31 || to_calendar(from_calendar(day)) != day) return std::nullopt;
  return from_calendar(day) * 86400 + time.hour * 3600 + time.minute * 60 + time.second;
}

/// "Sunday, 06-Nov-94 08:49:37 GMT". Of the years that end so it is the last one that is not more
/// than 50 years ahead.
inline std::optional<std::int64_t> parse_rfc850_date(std::string_view text, std::int64_t now) {
  constexpr std::string_view names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
  for (const std::string_view name : names) {
    if (!text.starts_with(name)) continue;
    calendar_day day;
    read_time time;
    date_reader from(text.substr(name.size()));
    from.text(", ").number(2, day.day).text("-").name(month_names, day.month).text("-");
    if (!take_time(from.number(2, day.year).text(" "), time).text(" GMT").is_at_end()) break;
    calendar_day latest = to_calendar(now / 86400);
    latest.year += 50;
    day.year += latest.year / 100 * 100;
    const std::int64_t of_day = time.hour * 3600 + time.minute * 60 + time.second;
    if (day > latest || (day == latest && of_day > now % 86400)) day.year -= 100;
    return to_seconds(day, time);
  }
  return std::nullopt;
}

}  // namespace detail

/// Reads a date in any of HTTP's three forms, as seconds since 1970; nothing if it is none. `now`,
/// not before 1970, tells what century a year of two digits is of. That the day of the week is the
/// right one is not checked.
inline std::optional<std::int64_t> parse_date(std::string_view text, std::int64_t now) {
  std::int64_t weekday = 0;
  detail::calendar_day day;
  detail::read_time time;
  detail::date_reader from(text);
  const std::string_view behind = text.substr(std::min<std::size_t>(text.size(), 3), 1);
  if (behind == ",") {  // "Sun, 06 Nov 1994 08:49:37 GMT"
    from.name(detail::day_names, weekday).text(", ").number(2, day.day).text(" ");
    from.name(detail::month_names, day.month).text(" ").number(4, day.year).text(" ");
    take_time(from, time).text(" GMT");
  } else if (behind == " ") {  // "Sun Nov  6 08:49:37 1994"
    from.name(detail::day_names, weekday).text(" ").name(detail::month_names, day.month).text(" ");
    const bool is_short = from.rest().starts_with(' ');
    from.text(is_short ? " " : "").number(is_short ? 1 : 2, day.day).text(" ");
    take_time(from, time).text(" ").number(4, day.year);
  } else {
    return detail::parse_rfc850_date(text, now);
  }
  return from.is_at_end() ? to_seconds(day, time) : std::nullopt;
}

/// How many characters a date has that is written.
inline constexpr std::size_t date_width = 29;

/// A date as HTTP writes it: "Sun, 06 Nov 1994 08:49:37 GMT"; from 1970 to 9999.
class date {
 public:
  explicit date(std::int64_t seconds) {
    const auto since = static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0));
    const std::uint64_t second = since % 86400;
    const auto days = static_cast<std::int64_t>(since / 86400);
    const detail::calendar_day day = detail::to_calendar(days);
    const auto put = [this](std::int64_t number, unsigned width) {
      out_.digits(static_cast<std::uint64_t>(number), 10, width);
    };
    out_ << detail::day_names.substr(static_cast<std::size_t>((days + 4) % 7) * 3, 3) << ", ";
    put(day.day, 2);
    out_ << " " << detail::month_names.substr(static_cast<std::size_t>(day.month - 1) * 3, 3)
         << " ";
    put(day.year, 4);
    out_ << " ";
    out_.digits(second / 3600, 10, 2) << ":";
    out_.digits(second / 60 % 60, 10, 2) << ":";
    out_.digits(second % 60, 10, 2) << " GMT";
  }
  date(const date&) = delete;
  date& operator=(const date&) = delete;

  [[nodiscard]] std::string_view view() const { return out_.view(); }

 private:
  std::array<char, 32> text_;
  text_builder out_{text_};
};

}  // namespace http
