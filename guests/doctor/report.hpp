// What the doctor found, and how it is written: as text for people or as JSON for programs, with
// the same names and values. Must not know what is looked at.
// SPDX-License-Identifier: MIT
#pragma once

#include <cctype>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace doctor {

using value = std::variant<bool, std::uint64_t, std::string>;

/// Sections of named values. The names are a part of what users rely on: add some, change none.
class report {
 public:
  void begin(std::string title) { sections_.push_back({std::move(title), {}}); }

  /// Adds to the section begun last. The remark, which explains, is in the text only.
  void add(std::string name, value found, std::string remark = "") {
    sections_.back().findings.push_back({std::move(name), std::move(found), std::move(remark)});
  }
  // Or a string literal would become a bool.
  void add(std::string name, const char* found, std::string remark = "") {
    add(std::move(name), std::string(found), std::move(remark));
  }

  /// Adds a finding to the section, and its text to the warnings that end the report.
  void warn(std::string name, std::string found) {
    warnings_.push_back(found);
    add(std::move(name), std::move(found));
  }

  void write_text(std::string_view version, bool works) const {
    std::printf("virtine %.*s\n", static_cast<int>(version.size()), version.data());
    for (const section& s : sections_) {
      std::printf("\n%s\n", label(s.name).c_str());
      for (const finding& f : s.findings) {
        std::string line = label(f.name);
        if (line.size() < label_width) line.resize(label_width, ' ');
        line += ' ' + text(f.found);
        if (!f.remark.empty()) line += ": " + f.remark;
        std::printf("  %s\n", line.c_str());
      }
    }
    std::printf("\n");
    for (const std::string& warning : warnings_) std::printf("Warning: %s.\n", warning.c_str());
    std::printf("virtines %s on this machine.\n", works ? "work" : "do not work");
  }

  void write_json(std::string_view version, bool works) const {
    std::printf("{\n  \"virtine\": %s,\n", quoted(version).c_str());
    for (const section& s : sections_) {
      std::printf("  %s: {", quoted(s.name).c_str());
      const char* separator = "";
      for (const finding& f : s.findings) {
        std::printf("%s\n    %s: %s", separator, quoted(f.name).c_str(), json(f.found).c_str());
        separator = ",";
      }
      std::printf("\n  },\n");
    }
    std::printf("  \"works\": %s\n}\n", works ? "true" : "false");
  }

 private:
  struct finding {
    std::string name;
    value found;
    std::string remark;
  };
  struct section {
    std::string name;
    std::vector<finding> findings;
  };

  static constexpr std::size_t label_width = 24;

  // Words, unless it is a name of the kernel.
  static std::string label(std::string name) {
    const bool foreign = std::isupper(static_cast<unsigned char>(name[0])) != 0;
    if (foreign || name.find('.') != std::string::npos) return name;
    for (char& c : name) c = c == '_' ? ' ' : c;
    return name;
  }

  static std::string text(const value& v) {
    if (const auto* truth = std::get_if<bool>(&v)) return *truth ? "yes" : "no";
    if (const auto* number = std::get_if<std::uint64_t>(&v)) return std::to_string(*number);
    return std::get<std::string>(v);
  }

  static std::string json(const value& v) {
    if (const auto* truth = std::get_if<bool>(&v)) return *truth ? "true" : "false";
    if (const auto* number = std::get_if<std::uint64_t>(&v)) return std::to_string(*number);
    return quoted(std::get<std::string>(v));
  }

  // A byte that is not ASCII, in a path say, may be of any encoding: it becomes the character of
  // the same number, which says what the byte was and is valid JSON always.
  static std::string quoted(std::string_view bytes) {
    std::string out = "\"";
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out += {'\\', c};
      } else if (byte >= 0x20 && byte < 0x7f) {
        out += c;
      } else {
        char escape[8];
        std::snprintf(escape, sizeof escape, "\\u%04x", unsigned{byte});
        out += escape;
      }
    }
    return out + '"';
  }

  std::vector<section> sections_;
  std::vector<std::string> warnings_;
};

/// Returns what a file of the kernel's says: a number if it is a decimal one, else the text.
inline value number_or_text(std::string text) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec == std::errc{} && read.ptr == end) return number;
  return text;
}

/// Returns numbers as they stand in processor manuals.
inline std::string hex(std::uint64_t number) {
  char out[24];
  std::snprintf(out, sizeof out, "0x%llx", static_cast<unsigned long long>(number));
  return out;
}

}  // namespace doctor
