// From a request to its reply: the function that runs in a virtine, or natively to compare.
// Must not know how a file is found.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "conditions.hpp"
#include "date.hpp"
#include "http.hpp"
#include "ranges.hpp"
#include "request.hpp"
#include "text.hpp"

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
    case status::precondition_failed:
      return "Precondition Failed";
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
    const std::uint32_t at = size();
    for (std::size_t i = 0; i < width; ++i) out_ << " ";
    out_ << behind;
    return at;
  }
  /// How much there is so far of the text that is being made.
  [[nodiscard]] std::uint32_t size() const {
    return static_cast<std::uint32_t>(out_.view().size() - begin_);
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

/// Ends the head of a reply that is about the file, whole or in part.
inline piece end_of_success(std::string_view path, reply_builder& out) {
  out.field("Content-Type", content_type(path)).field("Accept-Ranges", std::string_view("bytes"));
  return out.field("X-Content-Type-Options", std::string_view("nosniff")).end();
}

/// Answers a good request by what it finds out about the file at the time `now`.
inline void send_known_file(const request& asked, std::string_view path, const file_info& file,
                            std::int64_t now, reply_builder& out, reply& made) {
  const bool is_get = asked.method == "GET";
  const validators known(file, now);
  const conditions given(asked, known, now);
  switch (given.evaluate()) {
    case evaluation::failed:
      made.text = out.refusal(status::precondition_failed, is_get);
      return;
    case evaluation::not_modified:
      out.begin(status::not_modified);
      if (known.are_settled()) out.field("ETag", known.tag());
      made.text = out.end();
      return;
    case evaluation::proceed:
      break;
  }
  std::optional<part> wanted = find_part(given.range(), file.size);
  char range_text[80];
  text_builder range(range_text);
  range << "bytes ";
  if (wanted && wanted->size == 0) {
    if (!given.has_if_range()) {
      range << "*/" << file.size;
      out.begin(status::range_not_satisfiable).field("Content-Range", range.view());
      made.text = out.field("Content-Length", std::uint64_t{0}).end();
      return;
    }
    wanted.reset();  // So that the reply is the whole file (RFC 9110, 13.2.2, step 5).
  }
  const part sent = wanted.value_or(part{0, file.size});
  out.begin(wanted ? status::partial_content : status::ok);
  if (wanted) {
    range << sent.begin << "-" << sent.begin + sent.size - 1 << "/" << file.size;
    out.field("Content-Range", range.view());
  }
  out.field("Content-Length", sent.size);
  if (known.are_settled()) out.field("ETag", known.tag());
  if (is_get) {
    made.file_begin = sent.begin;
    made.file_size = sent.size;
  }
  if (wanted && given.has_if_range()) {  // The client has the rest of the head (15.3.7).
    made.text = out.end();
    return;
  }
  const date modified(known.modified());
  if (known.are_settled()) out.field("Last-Modified", modified.view());
  made.text = end_of_success(path, out);
}

/// Answers a good request that wants the whole file, if there is one.
inline void send_whole_file(const request& asked, std::string_view path, reply_builder& out,
                            reply& made) {
  const bool is_get = asked.method == "GET";
  out.begin(status::ok);
  // Spaces before a value mean nothing.
  made.size_at = out.blank("Content-Length: ", size_width, "\r\n");
  const std::uint32_t begin = out.size();
  made.tag_at = out.blank("ETag: \"", tag_width, "\"\r\n");
  made.date_at = out.blank("Last-Modified: ", date_width, "\r\n");
  made.if_settled = {begin, out.size() - begin};
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
    if (left == blanks::allowed && !asked.depends_on_file) {
      detail::send_whole_file(asked, path.view(), out, made);
      return made;
    }
    const file_info file = open(path.view());
    if (file.modified < 0) {
      refuse(status::not_found);
    } else {
      detail::send_known_file(asked, path.view(), file, now, out, made);
    }
  }
  return made;
}

}  // namespace http
