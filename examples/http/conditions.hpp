// Conditional requests (RFC 9110, section 13): what their fields say, and what comes of it for a
// file. Must not know how a file is found, nor what is replied.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "date.hpp"
#include "http.hpp"
#include "request.hpp"
#include "text.hpp"

namespace http {

/// What tells this content of a file from any other; see is_settled().
class validators {
 public:
  validators(const file_info& file, std::int64_t now)
      : modified_(last_modified(file, now)), settled_(is_settled(file, now)) {
    if (!settled_) return;
    out_ << "\"";
    out_.digits(static_cast<std::uint64_t>(file.changed), 16, 16) << "-";
    out_.digits(file.size, 16, 16) << "\"";
  }
  validators(const validators&) = delete;
  validators& operator=(const validators&) = delete;

  /// A strong entity tag; empty if there is none yet.
  [[nodiscard]] std::string_view tag() const { return out_.view(); }
  /// In seconds since 1970.
  [[nodiscard]] std::int64_t modified() const { return modified_; }
  [[nodiscard]] bool are_settled() const { return settled_; }

 private:
  std::int64_t modified_;
  bool settled_;
  char text_[40];
  text_builder out_{text_};
};

namespace detail {

/// What the lists of entity tags of one name, on any number of lines, say of one tag. A list that
/// is none has no tag.
class tag_list {
 public:
  void add(std::string_view line, std::string_view tag) {
    ++lines_;
    is_star_ = is_star_ || line == "*";
    if (is_star_) good_ = lines_ == 1;  // Not a member of lists.
    for (line = trim(line); good_ && !is_star_ && !line.empty(); line = trim(line)) {
      if (line.front() == ',') {
        line.remove_prefix(1);
        continue;
      }
      const bool is_weak = line.starts_with("W/");
      if (is_weak) line.remove_prefix(2);
      const std::string_view opaque = take_opaque(line);
      if (opaque == tag) (is_weak ? weak_ : strong_) = true;
      line = trim(line);
      good_ = !opaque.empty() && (line.empty() || line.front() == ',');
    }
  }

  [[nodiscard]] bool is_present() const { return lines_ > 0; }
  /// Says whether a file with the tag is meant, by the weak comparison or by the strong one.
  [[nodiscard]] bool has_weak() const { return good_ && (is_star_ || strong_ || weak_); }
  [[nodiscard]] bool has_strong() const { return good_ && (is_star_ || strong_); }

 private:
  /// Takes a text in quotes off `line`; returns an empty one if there is none.
  static std::string_view take_opaque(std::string_view& line) {
    const std::size_t end = line.starts_with('"') ? line.find('"', 1) : std::string_view::npos;
    if (end == std::string_view::npos) return {};
    const std::string_view opaque = line.substr(0, end + 1);
    if (!all_of(opaque, [](char c) { return c != ' ' && c != '\t'; })) return {};
    line.remove_prefix(end + 1);
    return opaque;
  }

  std::size_t lines_ = 0;
  bool good_ = true;
  bool is_star_ = false;
  bool weak_ = false;
  bool strong_ = false;
};

/// A field that is to be there once. Twice, it has no value.
class single_field {
 public:
  void add(std::string_view line) { value_ = ++lines_ == 1 ? line : std::string_view{}; }
  [[nodiscard]] bool is_present() const { return lines_ > 0; }
  [[nodiscard]] std::string_view value() const { return value_; }

 private:
  std::string_view value_;
  std::size_t lines_ = 0;
};

}  // namespace detail

/// What a request's conditions come to.
enum class evaluation : std::uint8_t { proceed, not_modified, failed };

/// The fields of a request that depend on the file, and what they say of it.
class conditions {
 public:
  /// `known` must outlive this.
  conditions(const request& asked, const validators& known, std::int64_t now)
      : asked_(asked), known_(known), now_(now) {
    for (std::string_view rest = asked.fields; !rest.empty();) {
      const field each = take_field(rest);
      if (is_same(each.name, "range")) {
        range_.add(each.value);
      } else if (!is_same(each.name.substr(0, 3), "if-")) {
        continue;
      } else if (is_same(each.name, "if-match")) {
        match_.add(each.value, known.tag());
      } else if (is_same(each.name, "if-none-match")) {
        none_match_.add(each.value, known.tag());
      } else if (is_same(each.name, "if-modified-since")) {
        modified_since_.add(each.value);
      } else if (is_same(each.name, "if-unmodified-since")) {
        unmodified_since_.add(each.value);
      } else if (is_same(each.name, "if-range")) {
        if_range_.add(each.value);
      }
    }
  }

  /// Evaluates them in the order that RFC 9110, 13.2.2 has. A date that is none counts as absent.
  [[nodiscard]] evaluation evaluate() const {
    using enum evaluation;
    if (match_.is_present()) {
      if (!match_.has_strong()) return failed;
    } else if (const auto since = parse_date(unmodified_since_.value(), now_);
               since && known_.modified() > *since) {
      return failed;
    }
    if (none_match_.is_present()) return none_match_.has_weak() ? not_modified : proceed;
    // Whether it was modified since is not known of a file whose date does not yet hold.
    const auto since = parse_date(modified_since_.value(), now_);
    return known_.are_settled() && since && known_.modified() <= *since ? not_modified : proceed;
  }

  /// The Range field, if it counts: of a GET, and if the file is the one of If-Range. Else empty.
  [[nodiscard]] std::string_view range() const {
    if (asked_.method != "GET") return {};
    return !if_range_.is_present() || is_that_of_if_range() ? range_.value() : std::string_view{};
  }
  [[nodiscard]] bool has_if_range() const { return if_range_.is_present(); }

 private:
  /// By the strong comparison only (13.1.5). Without an own validator nothing is.
  [[nodiscard]] bool is_that_of_if_range() const {
    if (!known_.are_settled()) return false;
    if (if_range_.value() == known_.tag()) return true;
    const auto date = parse_date(if_range_.value(), now_);
    return date && *date == known_.modified() && known_.modified() + settling <= now_;
  }

  const request& asked_;
  const validators& known_;
  std::int64_t now_;
  detail::tag_list match_;
  detail::tag_list none_match_;
  detail::single_field modified_since_;
  detail::single_field unmodified_since_;
  detail::single_field range_;
  detail::single_field if_range_;
};

}  // namespace http
