// From a request to its reply: the function that runs in a virtine, or natively to compare.
// Must not know how a file is found.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "http.hpp"
#include "request.hpp"

namespace http {

namespace detail {

inline constexpr std::string_view reason(status what) {
  switch (what) {
    case status::ok:
      return "OK";
    case status::partial_content:
      return "Partial Content";
    case status::not_modified:
      return "Not Modified";
    case status::bad_request:
      return "Bad Request";
    case status::not_found:
      return "Not Found";
    case status::method_not_allowed:
      return "Method Not Allowed";
    case status::content_too_large:
      return "Content Too Large";
    case status::uri_too_long:
      return "URI Too Long";
    case status::range_not_satisfiable:
      return "Range Not Satisfiable";
    case status::header_fields_too_large:
      return "Request Header Fields Too Large";
    case status::not_implemented:
      return "Not Implemented";
    case status::version_not_supported:
      return "HTTP Version Not Supported";
  }
  return "";
}

/// Text of bounded size; what does not fit is dropped.
class text_builder {
 public:
  explicit text_builder(std::span<char> room) : room_(room) {}

  text_builder& operator<<(std::string_view text) {
    const std::span<char> left = room_.subspan(size_);
    const std::size_t size = std::min(text.size(), left.size());
    std::copy_n(text.begin(), size, left.begin());
    size_ += size;
    return *this;
  }
  text_builder& operator<<(std::uint64_t number) { return digits(number, 10, 1); }
  text_builder& digits(std::uint64_t number, unsigned base, unsigned width) {
    std::array<char, 20> digits;
    std::size_t begin = digits.size();
    while (begin > 0 && (number > 0 || digits.size() - begin < width)) {
      digits[--begin] = "0123456789abcdef"[number % base];
      number /= base;
    }
    return *this << std::string_view(digits.data(), digits.size()).substr(begin);
  }

  [[nodiscard]] std::string_view view() const { return {room_.data(), size_}; }

 private:
  std::span<char> room_;
  std::size_t size_ = 0;
};

/// A date as HTTP has it: "Sun, 06 Nov 1994 08:49:37 GMT".
class date {
 public:
  explicit date(std::int64_t seconds) {
    constexpr std::string_view days = "SunMonTueWedThuFriSat";
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const auto since = static_cast<std::uint64_t>(std::max<std::int64_t>(seconds, 0));
    const std::uint64_t day = since / 86400;
    const std::uint64_t second = since % 86400;
    // In years that begin in March, a leap day is the last one of its year, and of its era of 400
    // years; the first of March of the year 0 is 719468 days before 1970.
    const std::uint64_t shifted = day + 719468;
    const std::uint64_t of_era = shifted % 146097;
    const std::uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const std::uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const std::uint64_t month = (5 * of_year + 2) / 153;
    const std::uint64_t calendar_month = (month + 2) % 12;
    out_ << days.substr((day + 4) % 7 * 3, 3) << ", ";
    out_.digits(of_year - (153 * month + 2) / 5 + 1, 10, 2)
        << " " << months.substr(calendar_month * 3, 3) << " ";
    out_.digits(year + shifted / 146097 * 400 + (calendar_month < 2 ? 1 : 0), 10, 4) << " ";
    out_.digits(second / 3600, 10, 2) << ":";
    out_.digits(second / 60 % 60, 10, 2) << ":";
    out_.digits(second % 60, 10, 2) << " GMT";
  }
  date(const date&) = delete;
  date& operator=(const date&) = delete;

  [[nodiscard]] std::string_view view() const { return out_.view(); }

 private:
  char text_[32];
  text_builder out_{text_};
};

inline std::string_view content_type(std::string_view path) {
  struct type {
    std::string_view ending;
    std::string_view name;
  };
  constexpr type types[] = {
      {".html", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript"},
      {".json", "application/json"},
      {".txt", "text/plain; charset=utf-8"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".wasm", "application/wasm"},
      {".pdf", "application/pdf"},
  };
  for (const type& each : types) {
    if (path.ends_with(each.ending)) return each.name;
  }
  return "application/octet-stream";
}

/// What of a file is wanted.
struct part {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
};

/// Takes a number off `text`: nothing if there is none; the largest one if it is larger.
inline std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  std::size_t size = 0;
  for (; size < text.size() && is_digit(text[size]); ++size) {
    const auto digit = static_cast<std::uint64_t>(text[size] - '0');
    number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
  }
  text.remove_prefix(size);
  if (size == 0) return std::nullopt;
  return number;
}

/// Finds the part that a Range field asks for, an empty one if there is none of it. Nothing if the
/// field is to be ignored: it is no range of bytes, or more than one.
inline std::optional<part> find_part(std::string_view range, std::uint64_t size) {
  constexpr std::string_view unit = "bytes=";
  if (!is_same(range.substr(0, unit.size()), unit)) return std::nullopt;
  range = trim(range.substr(unit.size()));
  const auto first = take_number(range);
  if (!range.starts_with('-')) return std::nullopt;
  range.remove_prefix(1);
  const auto last = take_number(range);
  if (!range.empty() || (!first && !last)) return std::nullopt;
  if (!first) {
    const std::uint64_t length = std::min(*last, size);
    return part{size - length, length};
  }
  if (last && *last < *first) return std::nullopt;
  if (*first >= size) return part{};
  return part{*first, std::min(last.value_or(size - 1), size - 1) - *first + 1};
}

/// A reply in the making: its texts follow each other in its room.
class reply_builder {
 public:
  reply_builder(reply& to, std::int64_t now) : to_(to), now_(now) {}

  reply_builder& begin(status what) {
    const date today(now_);
    out_ << "HTTP/1.1 " << static_cast<std::uint64_t>(what) << " " << reason(what)
         << "\r\nDate: " << today.view() << "\r\n";
    return *this;
  }
  template <class Value>
  reply_builder& field(std::string_view name, const Value& value) {
    out_ << name << ": " << value << "\r\n";
    return *this;
  }
  /// Leaves a blank for the host; returns where it is.
  std::uint32_t blank(std::string_view before, std::size_t width, std::string_view behind) {
    out_ << before;
    const std::size_t at = out_.view().size() - begin_;
    for (std::size_t i = 0; i < width; ++i) out_ << " ";
    out_ << behind;
    return static_cast<std::uint32_t>(at);
  }
  piece end(std::string_view body = {}) {
    // Clients of HTTP/1.0 take a connection for closed if they are not told.
    out_ << (to_.keeps_alive != 0 ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
    return add(body);
  }
  piece add(std::string_view text) {
    out_ << text;
    const std::size_t begin = std::exchange(begin_, out_.view().size());
    return {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(begin_ - begin)};
  }

  /// A whole text that says what is wrong.
  piece refusal(status why, bool has_body) {
    char text[64];
    text_builder body(text);
    body << static_cast<std::uint64_t>(why) << " " << reason(why) << "\n";
    begin(why).field("Content-Type", std::string_view("text/plain"));
    field("Content-Length", std::uint64_t{body.view().size()});
    if (why == status::method_not_allowed) field("Allow", std::string_view("GET, HEAD"));
    return end(has_body ? body.view() : std::string_view{});
  }

 private:
  reply& to_;
  std::int64_t now_;
  text_builder out_{to_.room};
  std::size_t begin_ = 0;  // Of the text that is being made.
};

inline bool is_known(std::string_view method) {
  for (const std::string_view each :
       {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"}) {
    if (method == each) return true;
  }
  return false;
}

/// Says whether a list of entity tags has `tag`; weak ones count as well (RFC 9110, 13.1.2).
inline bool has_tag(std::string_view list, std::string_view tag) {
  if (list == "*") return true;
  while (!list.empty()) {
    std::string_view each = take_element(list);
    if (each.starts_with("W/")) each.remove_prefix(2);
    if (each == tag) return true;
  }
  return false;
}

inline piece end_of_success(std::string_view path, reply_builder& out) {
  out.field("Content-Type", content_type(path)).field("Accept-Ranges", std::string_view("bytes"));
  return out.field("X-Content-Type-Options", std::string_view("nosniff")).end();
}

/// Answers a good request by what it finds out about the file.
inline void send_known_file(const request& asked, std::string_view path, const file_info& file,
                            reply_builder& out, reply& made) {
  const date modified(file.modified / 1'000'000'000);
  char text[48];
  text_builder tag(text);
  tag << "\"";
  tag.digits(static_cast<std::uint64_t>(file.modified), 16, 16) << "-";
  tag.digits(file.size, 16, 16) << "\"";

  const bool unchanged = asked.if_none_match.empty() ? asked.if_modified_since == modified.view()
                                                     : has_tag(asked.if_none_match, tag.view());
  if (unchanged) {
    made.text = out.begin(status::not_modified).field("ETag", tag.view()).end();
    return;
  }
  const bool is_get = asked.method == "GET";
  std::optional<part> wanted;
  if (is_get && (asked.if_range.empty() || asked.if_range == tag.view() ||
                 asked.if_range == modified.view())) {
    wanted = find_part(asked.range, file.size);
  }
  char range_text[80];
  text_builder range(range_text);
  range << "bytes ";
  if (wanted && wanted->size == 0) {
    range << "*/" << file.size;
    out.begin(status::range_not_satisfiable).field("Content-Range", range.view());
    made.text = out.field("Content-Length", std::uint64_t{0}).end();
    return;
  }
  const part sent = wanted.value_or(part{0, file.size});
  out.begin(wanted ? status::partial_content : status::ok);
  if (wanted) {
    range << sent.begin << "-" << sent.begin + sent.size - 1 << "/" << file.size;
    out.field("Content-Range", range.view());
  }
  out.field("Content-Length", sent.size).field("ETag", tag.view());
  out.field("Last-Modified", modified.view());
  made.text = end_of_success(path, out);
  if (is_get) {
    made.file_begin = sent.begin;
    made.file_size = sent.size;
  }
}

/// Answers a good request that wants the whole file, if there is one.
inline void send_whole_file(const request& asked, std::string_view path, reply_builder& out,
                            reply& made) {
  const bool is_get = asked.method == "GET";
  out.begin(status::ok);
  // Spaces before a value mean nothing.
  made.size_at = out.blank("Content-Length: ", size_width, "\r\n");
  made.tag_at = out.blank("ETag: \"", tag_width, "\"\r\n");
  made.text = end_of_success(path, out);
  made.otherwise = out.refusal(status::not_found, is_get);
  made.path = out.add(path);
  if (is_get) made.file_size = UINT64_MAX;
}

}  // namespace detail

/// Whether a reply may have blanks that the host fills in.
enum class blanks : std::uint8_t { allowed, none };

/// Answers the request that `input` begins with at the time `now`, in seconds since 1970. `open`
/// takes a path, at most once, and returns a file_info; where blanks are allowed, only requests for
/// a part, or on conditions, need it.
template <class Open>
reply answer(std::string_view input, std::int64_t now, const Open& open,
             blanks left = blanks::allowed) {
  reply made;
  detail::reply_builder out(made, now);
  const request asked = parse(input);
  if (asked.size == 0 && asked.problem == status::ok) return made;

  const bool is_head = asked.method == "HEAD";
  const auto refuse = [&](status why) { made.text = out.refusal(why, !is_head); };
  // Where one request ended, and the next one began, would be a guess.
  if (asked.problem != status::ok || asked.has_body) {
    made.consumed = static_cast<std::uint32_t>(input.size());
  } else {
    made.consumed = static_cast<std::uint32_t>(asked.size);
    made.keeps_alive = asked.keeps_alive ? 1 : 0;
  }
  if (asked.problem != status::ok) {
    refuse(asked.problem);
  } else if (!is_head && asked.method != "GET") {
    refuse(detail::is_known(asked.method) ? status::method_not_allowed : status::not_implemented);
  } else if (asked.has_body) {
    refuse(status::content_too_large);
  } else {
    file_path path;
    const status found = find_path(asked.target, path);
    if (found != status::ok) {
      refuse(found);
      return made;
    }
    const bool is_plain = left == blanks::allowed && asked.range.empty() &&
                          asked.if_none_match.empty() && asked.if_modified_since.empty();
    if (is_plain) {
      detail::send_whole_file(asked, path.view(), out, made);
      return made;
    }
    const file_info file = open(path.view());
    if (file.modified < 0) {
      refuse(status::not_found);
    } else {
      detail::send_known_file(asked, path.view(), file, out, made);
    }
  }
  return made;
}

}  // namespace http
