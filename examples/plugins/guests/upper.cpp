// A command that writes a text in capital letters.
// SPDX-License-Identifier: MIT
#include <string_view>

#include <virtine/bytes.hpp>
#include <virtine/guest.hpp>

static virtine::bytes<4096> run(std::string_view text) {
  virtine::bytes<4096> out;
  for (const char c : text) {
    const bool small = c >= 'a' && c <= 'z';
    out.append(static_cast<std::byte>(small ? c - 'a' + 'A' : c));
  }
  return out;
}

VIRTINE_EXPORT(run);
