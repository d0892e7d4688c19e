// What of a script's text may be written to a terminal.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace js {

/// Returns a text of a script's for a terminal, which takes control characters, those of Latin 1
/// (C2 80 to C2 9F in UTF-8) too, for commands.
inline std::string harmless(std::string_view text) {
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_latin =
        byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (is_latin) ++i;
    line += is_latin || byte < ' ' || byte == 0x7f ? '?' : text[i];
  }
  return line;
}

}  // namespace js
