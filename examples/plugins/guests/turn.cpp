// A command that writes a text from its end, and one that never ends.
// SPDX-License-Identifier: MIT
#include <string_view>

#include <virtine/bytes.hpp>
#include <virtine/guest.hpp>

static virtine::bytes<4096> run(std::string_view text) {
#ifdef FOR_EVER
  for (;;) asm volatile("");
#endif
  virtine::bytes<4096> out;
  while (!text.empty()) {
    out.append(static_cast<std::byte>(text.back()));
    text.remove_suffix(1);
  }
  return out;
}

VIRTINE_EXPORT(run);
