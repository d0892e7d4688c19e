// The small text files of /proc and /sys. Must not know what is in them.
// SPDX-License-Identifier: MIT
#pragma once

#include <fstream>
#include <string>
#include <string_view>

namespace doctor {

/// Returns the first line of a file, empty if there is none.
inline std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  std::getline(file, text);
  return text;
}

/// Returns what follows `name` and a colon in the first line that begins so, without the white
/// space around it; empty if there is none.
inline std::string field(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    const auto colon = text.find(':');
    if (colon == std::string::npos || !text.starts_with(name)) continue;
    if (text.find_first_not_of(" \t", name.size()) != colon) continue;
    const auto begin = text.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : text.substr(begin);
  }
  return "";
}

}  // namespace doctor
