// From a request to its reply: the function that runs in a virtine, or natively to compare.
// Must not know how a file is found.
// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
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

/// The value of a Content-Range field; of an empty part, that there is none of it.
class content_range {
 public:
  content_range(const part& of, std::uint64_t size) {
    out_ << "bytes ";
    if (of.size == 0) {
      out_ << "*";
    } else {
      out_ << of.begin << "-" << of.begin + of.size - 1;
    }
    out_ << "/" << size;
  }
  content_range(const content_range&) = delete;
  content_range& operator=(const content_range&) = delete;

  [[nodiscard]] std::string_view view() const { return out_.view(); }

 private:
  std::array<char, 80> text_;
  text_builder out_{text_};
};

/// Says what else there is to know of the file.
inline void add_support(reply_builder& out) {
  out.field("Accept-Ranges", std::string_view("bytes"));
  out.field("X-Content-Type-Options", std::string_view("nosniff"));
}

/// Ends the head of a reply, and adds what comes before, between and behind several parts of a file
/// (RFC 9110, 14.6).
inline void send_parts(std::span<const part> wanted, std::string_view type, const file_info& file,
                       std::int64_t now, reply_builder& out, reply& made) {
  // No content has the time of its own change in it.
  char boundary_text[40];
  text_builder boundary(boundary_text);
  boundary.digits(static_cast<std::uint64_t>(file.changed), 16, 16);
  boundary.digits(static_cast<std::uint64_t>(now), 16, 8);

  char heads_text[1400];  // Of at most 140 bytes each, and the end.
  text_builder heads(heads_text);
  std::uint64_t size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const content_range range(wanted[i], file.size);
    heads << "\r\n--" << boundary.view() << "\r\nContent-Type: " << type
          << "\r\nContent-Range: " << range.view() << "\r\n\r\n";
    made.parts[i] = {heads.view().size(), wanted[i].begin, wanted[i].size};
    size += wanted[i].size;
  }
  heads << "\r\n--" << boundary.view() << "--\r\n";
  char type_text[80];
  text_builder whole(type_text);
  whole << "multipart/byteranges; boundary=" << boundary.view();
  out.field("Content-Type", whole.view()).field("Content-Length", size + heads.view().size());
  made.text = out.end(heads.view());
  const std::uint64_t head_size = made.text.size - heads.view().size();
  for (std::size_t i = 0; i < wanted.size(); ++i) made.parts[i].at += head_size;
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
  const parts wanted(given.range(), file.size);
  if (wanted.are_valid() && wanted.all().empty() && !given.has_if_range()) {
    const content_range none({}, file.size);
    out.begin(status::range_not_satisfiable).field("Content-Range", none.view());
    made.text = out.field("Content-Length", std::uint64_t{0}).end();
    return;
  }
  // If it is of no use and there is If-Range, the reply is the whole file (13.2.2, step 5).
  const bool is_part = wanted.are_valid() && !wanted.all().empty();
  out.begin(is_part ? status::partial_content : status::ok);
  if (known.are_settled()) out.field("ETag", known.tag());
  // To If-Range only what the client cannot know (15.3.7).
  const bool is_short = is_part && given.has_if_range();
  const date modified(known.modified());
  if (known.are_settled() && !is_short) out.field("Last-Modified", modified.view());
  if (is_part && wanted.all().size() > 1) {
    if (!is_short) add_support(out);
    send_parts(wanted.all(), content_type(path), file, now, out, made);
    return;
  }
  part sent{0, file.size};
  if (is_part) {
    sent = wanted.all().front();
    const content_range range(sent, file.size);
    out.field("Content-Range", range.view());
  }
  out.field("Content-Length", sent.size);
  if (is_get) {
    made.file_begin = sent.begin;
    made.file_size = sent.size;
  }
  if (!is_short) add_support(out.field("Content-Type", content_type(path)));
  made.text = out.end();
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
  add_support(out.field("Content-Type", content_type(path)));
  made.text = out.end();
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
