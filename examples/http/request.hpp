// Parsing of HTTP/1.1 requests, for guests and for a native build to compare them with. Strict,
// because what two programs understand differently is what attackers look for. Must not know what
// the requests are for.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "http.hpp"
#ifdef HTTP_PLANTED_BUG
#include "tests/planted_bug.hpp"
#endif

namespace http {

enum class status : std::uint16_t {
  ok = 200,
  partial_content = 206,
  not_modified = 304,
  bad_request = 400,
  not_found = 404,
  method_not_allowed = 405,
  precondition_failed = 412,
  content_too_large = 413,
  uri_too_long = 414,
  range_not_satisfiable = 416,
  header_fields_too_large = 431,
  not_implemented = 501,
  version_not_supported = 505,
};

/// A request; the texts are part of the input.
struct request {
  status problem = status::ok;  ///< If not ok, why it is refused, and nothing else counts.
  std::size_t size = 0;         ///< How much of the input it is; 0: it is not complete.
  std::string_view method;
  std::string_view target;
  bool keeps_alive = true;
  bool has_body = false;
  bool depends_on_file = false;  ///< Has a Range field, or one whose name begins with "If-".
  std::string_view fields;       ///< All of them, for take_field().
};

inline constexpr std::size_t most_line = 4096;
inline constexpr std::size_t most_fields = 64;

inline constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

inline constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

/// Compares with a text in lower case.
inline constexpr bool is_same(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (to_lower(text[i]) != lower[i]) return false;
  }
  return true;
}

/// Says whether a character may be part of a method or of a field's name (RFC 9110, 5.6.2).
inline constexpr bool is_token(char c) {
  return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

template <class Predicate>
constexpr bool all_of(std::string_view text, Predicate predicate) {
  for (const char c : text) {
    if (!predicate(c)) return false;
  }
  return true;
}

/// Says whether a line has no control characters, which all end or hide something somewhere.
inline constexpr bool is_printable(std::string_view line) {
  return all_of(line, [](char c) {
    return (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\t';
  });
}

inline constexpr std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Takes the first element off a list that commas separate.
inline constexpr std::string_view take_element(std::string_view& list) {
  const std::size_t end = list.find(',');
  const std::string_view element = trim(list.substr(0, end));
  list.remove_prefix(end == std::string_view::npos ? list.size() : end + 1);
  return element;
}

struct field {
  std::string_view name;
  std::string_view value;
};

/// Takes the first field off the fields of a request that was parsed.
inline constexpr field take_field(std::string_view& fields) {
  const std::size_t end = fields.find("\r\n");
  const std::string_view line = fields.substr(0, end);
  fields.remove_prefix(end == std::string_view::npos ? fields.size() : end + 2);
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {};
  return {line.substr(0, colon), trim(line.substr(colon + 1))};
}

namespace detail {

/// Reads a request line by line.
class request_parser {
 public:
  explicit request_parser(std::string_view input) : input_(input) {}

  request parse() {
    // Some clients send an empty line behind a body (RFC 9112, 2.2).
    while (input_.substr(at_).starts_with("\r\n")) at_ += 2;
    const auto first = take_line(status::uri_too_long);
    if (!first || !parse_first(*first)) return out_;
    fields_ = at_;
    for (std::size_t fields = 0;; ++fields) {
      const auto line = take_line(status::header_fields_too_large);
      if (!line) return out_;
      if (line->empty()) return end();
      if (fields == most_fields) return refuse(status::header_fields_too_large);
      if (!parse_field(*line)) return refuse(status::bad_request);
    }
  }

 private:
  request& refuse(status why) {
    out_.problem = why;
    return out_;
  }

  /// Returns the next line without its end; nothing if it is bad, or not complete.
  std::optional<std::string_view> take_line(status too_long) {
    const std::string_view rest = input_.substr(at_);
    const std::size_t size = rest.find('\n');
    std::string_view line = rest.substr(0, size);
    const bool ended = line.ends_with('\r');
    if (ended) line.remove_suffix(1);
    if (line.size() > most_line) {
      refuse(too_long);
    } else if (!is_printable(line) || (size != std::string_view::npos && !ended)) {
      refuse(status::bad_request);
    } else if (size == std::string_view::npos) {
      if (input_.size() >= most_input) refuse(status::header_fields_too_large);
    } else {
      at_ += size + 1;
      return line;
    }
    return std::nullopt;
  }

  bool parse_first(std::string_view line) {
    const std::size_t method_end = line.find(' ');
    const std::size_t target_end = line.rfind(' ');
    if (method_end == std::string_view::npos || method_end == 0 || target_end == method_end) {
      refuse(status::bad_request);
      return false;
    }
    out_.method = line.substr(0, method_end);
    out_.target = line.substr(method_end + 1, target_end - method_end - 1);
    const std::string_view version = line.substr(target_end + 1);
    const bool is_version = version.size() == 8 && version.starts_with("HTTP/") &&
                            is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
    if (!is_version || !all_of(out_.method, is_token) ||
        out_.target.find(' ') != std::string_view::npos) {
      refuse(status::bad_request);
    } else if (version[5] != '1') {
      refuse(status::version_not_supported);
    }
    is_1_0_ = version.ends_with('0');
    out_.keeps_alive = !is_1_0_;
    return out_.problem == status::ok;
  }

  bool parse_field(std::string_view line) {
    const std::size_t end = line.find(':');
    if (end == std::string_view::npos || end == 0) return false;
    const std::string_view name = line.substr(0, end);
    if (!all_of(name, is_token)) return false;
    const std::string_view value = trim(line.substr(end + 1));
    if (is_same(name, "host")) {
      const bool valid = all_of(value, [](char c) {
        return is_token(c) || std::string_view(":[]()=;,").find(c) != std::string_view::npos;
      });
      return valid && ++hosts_ == 1;
    }
    if (is_same(name, "content-length")) {
      if (value.empty() || !all_of(value, is_digit) || ++lengths_ != 1) return false;
      out_.has_body |= !all_of(value, [](char c) { return c == '0'; });
    } else if (is_same(name, "transfer-encoding")) {
      is_encoded_ = true;
    } else if (is_same(name, "connection")) {
      for (std::string_view list = value; !list.empty();) take_option(take_element(list));
    } else if (is_same(name, "range") || is_same(name.substr(0, 3), "if-")) {
      out_.depends_on_file = true;
    }
#ifdef HTTP_PLANTED_BUG
    if (is_same(name, "x-trace")) planted_bug(value);
#endif
    return true;
  }

  void take_option(std::string_view option) {
    if (is_same(option, "close")) closes_ = true;
    if (is_same(option, "keep-alive")) out_.keeps_alive = true;
  }

  request& end() {
    // Who sees an end of the body and who sees none must not be a matter of taste.
    if (is_encoded_ && (is_1_0_ || lengths_ > 0)) return refuse(status::bad_request);
    if (hosts_ != 1 && !is_1_0_) return refuse(status::bad_request);
    out_.has_body |= is_encoded_;
    if (closes_) out_.keeps_alive = false;
    out_.size = at_;
    out_.fields = input_.substr(fields_, at_ - fields_ - 2);  // Without the empty line.
    return out_;
  }

  std::string_view input_;
  std::size_t at_ = 0;
  request out_;
  bool is_1_0_ = false;
  bool is_encoded_ = false;
  bool closes_ = false;
  unsigned hosts_ = 0;
  unsigned lengths_ = 0;
  std::size_t fields_ = 0;  // Where they begin.
};

}  // namespace detail

/// Parses the request that `input`, of most_input bytes at most, begins with.
inline request parse(std::string_view input) {
  return detail::request_parser(input).parse();
}

/// The path of a file, relative to the granted directory.
struct file_path {
  char text[most_path];
  std::size_t size = 0;

  [[nodiscard]] std::string_view view() const { return {text, size}; }
  bool append(char c) {
    if (size == sizeof text) return false;
    text[size++] = c;
    return true;
  }
};

namespace detail {

inline constexpr int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = to_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Takes a character off `text`, decoded. Returns a negative number if there is none that may be in
/// a path.
inline int take_character(std::string_view& text) {
  int c = static_cast<unsigned char>(text.front());
  text.remove_prefix(1);
  if (c <= ' ' || c >= 0x7f || c == '#') return -1;
  if (c != '%') return c;
  if (text.size() < 2) return -1;
  const int high = hex_digit(text[0]);
  const int low = hex_digit(text[1]);
  text.remove_prefix(2);
  c = high * 16 + low;
  return high < 0 || low < 0 || c < ' ' || c == 0x7f ? -1 : c;
}

}  // namespace detail

/// Makes the path of a file from the target of a request. Refuses whatever would lead out of the
/// directory, although the host does so as well.
inline status find_path(std::string_view target, file_path& path) {
  constexpr std::string_view scheme = "http://";
  if (is_same(target.substr(0, scheme.size()), scheme)) {
    target.remove_prefix(scheme.size());
    const std::size_t end = target.find_first_of("/?#");
    if (end == 0 || target.empty()) return status::bad_request;  // There is no host.
    target = end == std::string_view::npos || target[end] == '?' ? "/" : target.substr(end);
  }
  if (!target.starts_with('/')) return status::bad_request;
  target = target.substr(0, target.find('?'));
  std::size_t segment = 0;  // Where the last one begins.
  while (!target.empty()) {
    const int c = detail::take_character(target);
    if (c < 0) return status::bad_request;
    if (c == '/' && path.size == segment) continue;
    if (!path.append(static_cast<char>(c))) return status::uri_too_long;
    if (c != '/' && !target.empty()) continue;
    const std::string_view last =
        path.view().substr(segment, path.size - segment - (c == '/' ? 1 : 0));
    if (last == "." || last == "..") return status::bad_request;
    if (c == '/') segment = path.size;
  }
  if (path.size > segment) return status::ok;
  for (const char c : std::string_view("index.html")) {
    if (!path.append(c)) return status::uri_too_long;
  }
  return status::ok;
}

}  // namespace http
